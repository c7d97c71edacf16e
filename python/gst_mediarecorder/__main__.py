"""Prints the directory of the plugin, for other programs' GST_PLUGIN_PATH."""

from ._plugin import plugin_dir

print(plugin_dir())
