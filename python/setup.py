"""What pyproject.toml cannot express: a wheel for one platform, and for any Python 3."""

import os

from setuptools import Distribution, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:
    from wheel.bdist_wheel import bdist_wheel


class PluginWheel(bdist_wheel):
    def get_tag(self):
        platform = os.environ.get("MEDIARECORDER_WHEEL_PLATFORM") or super().get_tag()[2]
        return "py3", "none", platform


class WithPlugin(Distribution):
    def has_ext_modules(self):
        return True


setup(cmdclass={"bdist_wheel": PluginWheel}, distclass=WithPlugin)
