"""Prints the plugin's directory, for GST_PLUGIN_PATH of other programs."""

from ._plugin import plugin_dir

print(plugin_dir())
