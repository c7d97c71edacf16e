#!/usr/bin/python3
"""Reads and operates a window through the accessibility interface.

    dbus-run-session -- hand.py PROGRAM [ARGUMENT ...]

Runs the program. Commands on stdin, to each an answer on stdout, of one line that begins with "> " (what the
session's own services have to say is there too):
    read            all texts that are shown, those of buttons that can be pressed in brackets
    press NAME      presses that button: "done", or why not
    type TEXT       writes it into the field that there is: "done", or why not
    wait            the program's exit code, once it has ended
"""

import subprocess
import sys

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

# Later versions of the library use its new name.
BUTTON = getattr(Atspi.Role, "BUTTON", None) or Atspi.Role.PUSH_BUTTON
BUTTONS = (BUTTON, Atspi.Role.TOGGLE_BUTTON)


def tree(node):
    """All visible elements, from the window down."""
    if node is None:
        return
    states = node.get_state_set()
    if states.contains(Atspi.StateType.VISIBLE) or node.get_role() == Atspi.Role.APPLICATION:
        yield node
        if node.get_role() in BUTTONS:
            return  # its label is its name
        for number in range(node.get_child_count()):
            yield from tree(node.get_child_at_index(number))


def shown(pid):
    desktop = Atspi.get_desktop(0)
    # Of everything below, too: the library updates its cache by signals, and misses some. A window whose dialogue has
    # been closed may be absent from it.
    desktop.clear_cache()
    for number in range(desktop.get_child_count()):
        application = desktop.get_child_at_index(number)
        if application is not None and application.get_process_id() == pid:
            yield from tree(application)


def enabled(node):
    return node.get_state_set().contains(Atspi.StateType.SENSITIVE)


def name_of(node):
    """GTK may report a label with its source, including the mnemonic: "_Save Save"."""
    name = node.get_name() or ""
    words = [word for word in name.split() if "_" not in word]
    return " ".join(words) or name.replace("_", "")


def read(pid):
    texts = []
    for node in shown(pid):
        name = name_of(node)
        if node.get_role() in BUTTONS and name:
            texts.append(f"[{name}]" if enabled(node) else f"({name})")
        elif node.get_role() == Atspi.Role.LABEL and name:
            texts.append(name)
    return " | ".join(texts).replace("\n", " ")


def press(pid, name):
    for node in shown(pid):
        if node.get_role() in BUTTONS and name_of(node) == name and enabled(node):
            return "done" if node.do_action(0) else "it does not move"
    return "there is none that can be pressed"


def write(pid, text):
    for node in shown(pid):
        if "EditableText" in node.get_interfaces() and enabled(node):
            return "done" if node.set_text_contents(text) else "it takes no text"
    return "there is no field"


def answer(line, program):
    command, _, rest = line.rstrip("\n").partition(" ")
    if command == "wait":
        return program.wait(timeout=30)
    if program.poll() is not None:
        return f"the program has ended with {program.returncode}"
    try:
        return {"read": read, "press": press, "type": write}[command](program.pid, *([rest] if rest else []))
    except GLib.Error as error:
        # The window may change while it is read.
        return f"gone: {error.message}"


if __name__ == "__main__":
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        Atspi.init()
        for line in sys.stdin:
            print(f"> {answer(line, program)}", flush=True)
    finally:
        program.kill()
