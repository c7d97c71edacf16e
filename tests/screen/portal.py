#!/usr/bin/python3
"""A mock of the desktop portal: a request for the screen returns the PipeWire node of this name.

    portal.py NODE-NAME

Prints "ready" once it can be asked.
"""

import json
import os
import socket
import subprocess
import sys

import gi
from gi.repository import Gio, GLib

INTERFACE = """
<node><interface name="org.freedesktop.portal.ScreenCast">
  <method name="CreateSession">
    <arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="SelectSources">
    <arg type="o" direction="in"/><arg type="a{sv}" direction="in"/><arg type="o" direction="out"/></method>
  <method name="Start">
    <arg type="o" direction="in"/><arg type="s" direction="in"/><arg type="a{sv}" direction="in"/>
    <arg type="o" direction="out"/></method>
  <method name="OpenPipeWireRemote">
    <arg type="o" direction="in"/><arg type="a{sv}" direction="in"/><arg type="h" direction="out"/></method>
</interface></node>
"""


def node_id(name):
    for thing in json.loads(subprocess.check_output(["pw-dump"])):
        properties = (thing.get("info") or {}).get("props") or {}
        if properties.get("node.name") == name:
            return thing["id"]
    sys.exit(f"PipeWire has no node {name}")


def on_call(bus, sender, _path, _interface, method, parameters, invocation):
    options = parameters.unpack()[-1]
    if method == "OpenPipeWireRemote":
        # Like the real one: a separate connection for the caller.
        remote = socket.socket(socket.AF_UNIX)
        remote.connect(os.path.join(os.environ["XDG_RUNTIME_DIR"], "pipewire-0"))
        files = Gio.UnixFDList.new()
        files.append(remote.fileno())
        return invocation.return_value_with_unix_fd_list(GLib.Variant("(h)", (0,)), files)
    request = f"/org/freedesktop/portal/desktop/request/{sender[1:].replace('.', '_')}/{options['handle_token']}"
    results = {}
    if method == "CreateSession":
        results["session_handle"] = GLib.Variant("s", request.replace("/request/", "/session/"))
    elif method == "Start":
        results["streams"] = GLib.Variant("a(ua{sv})", [(node_id(sys.argv[1]), {})])
    invocation.return_value(GLib.Variant("(o)", (request,)))
    answer = GLib.Variant("(ua{sv})", (0, results))
    bus.emit_signal(sender, request, "org.freedesktop.portal.Request", "Response", answer)


def on_bus(bus, _name):
    interface = Gio.DBusNodeInfo.new_for_xml(INTERFACE).interfaces[0]
    bus.register_object("/org/freedesktop/portal/desktop", interface, on_call, None, None)


def on_name(_bus, _name):
    print("ready", flush=True)


Gio.bus_own_name(
    Gio.BusType.SESSION, "org.freedesktop.portal.Desktop", Gio.BusNameOwnerFlags.NONE, on_bus, on_name, None
)
GLib.MainLoop().run()
