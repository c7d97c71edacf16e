"""The window: available actions, and messages to the user."""

import os

from gi.repository import Gio, GLib, Gtk

from frames import Frames
from pipeline import Pipeline
from player import Player


class Window(Gtk.ApplicationWindow):
    def __init__(self, application, args):
        super().__init__(application=application, title="Camera", default_width=650, default_height=594)
        self.args = args
        self.clip = None  # where the last recording is
        self.marks = 0  # of the recording that is on
        self.saving = False  # between stop and the whole file
        self.playing = False
        self.closing = False
        self.chooser = None
        self.pipeline = None
        self.build()
        self.player = Player(Frames(self.pictures["clip"], sync=True).bin, self.on_played)
        try:
            preview = Frames(self.pictures["camera"], sync=False).bin
            self.pipeline = Pipeline(args.test, args.type, preview, self.on_event, self.on_failure)
            self.pipeline.play()
            if self.pipeline.remarks:
                self.tell(self.pipeline.remarks)
        except (RuntimeError, GLib.Error) as error:
            self.on_failure(str(error))
        self.connect("close-request", self.on_close)
        GLib.timeout_add(100, self.update)
        self.update()

    # --- Widgets

    def build(self):
        self.set_titlebar(Gtk.HeaderBar())
        self.pictures = {name: Gtk.Picture(vexpand=True, can_shrink=True) for name in ("camera", "clip")}
        self.shown = Gtk.Stack()
        for name, picture in self.pictures.items():
            self.shown.add_named(picture, name)
        self.status = Gtk.Label(halign=Gtk.Align.START, valign=Gtk.Align.START, margin_start=12, margin_top=12)
        self.status.add_css_class("osd")
        self.status.add_css_class("title-3")
        overlay = Gtk.Overlay(child=self.shown)
        overlay.add_overlay(self.status)

        self.news = Gtk.Label(label=" ", wrap=True, xalign=0, hexpand=True)
        self.bar = Gtk.InfoBar(revealed=False)
        # The bar's own button is called Close from GTK 4.18 on, as the window's is.
        self.bar.add_button("Hide", Gtk.ResponseType.CLOSE)
        self.bar.add_child(self.news)
        self.bar.connect("response", lambda bar, _: bar.set_revealed(False))

        row = Gtk.Box(spacing=8, halign=Gtk.Align.CENTER, margin_top=10, margin_bottom=10)
        self.buttons, self.actions = {}, {}
        for name in ("record", "pause", "mark", "play", "save"):
            action = Gio.SimpleAction.new(name, None)
            action.connect("activate", self.on_action, getattr(self, f"on_{name}"))
            self.add_action(action)
            self.actions[name] = action
            self.buttons[name] = Gtk.Button(action_name=f"win.{name}", width_request=110)
            row.append(self.buttons[name])
        box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL)
        for child in (self.bar, overlay, row):
            box.append(child)
        self.set_child(box)

    def update(self):
        """Updates labels and available actions."""
        state = self.pipeline.state if self.pipeline else "inactive"
        busy = state != "inactive" or self.saving
        status = ""
        if self.playing:
            status = f" ▶ {self.player.position:.1f} s "
        elif self.saving:
            status = " Saving "
        elif busy:
            status = f" {'●' if state == 'recording' else '‖'} {self.pipeline.recorded:.1f} s "
        self.status.set_label(status)
        self.status.set_visible(bool(status))
        self.shown.set_visible_child_name("clip" if self.playing else "camera")
        possible = {
            "record": self.pipeline and not self.saving and not self.playing,
            "pause": state != "inactive",
            "mark": state != "inactive",
            "play": self.clip and not busy,
            "save": self.clip and not busy and not self.playing,
        }
        labels = {
            "record": "Record" if state == "inactive" else "Stop",
            "pause": "Go on" if state == "paused" else "Pause",
            "mark": "Mark",
            "play": "Stop playing" if self.playing else "Play",
            "save": "Save as…",
        }
        for name, action in self.actions.items():
            action.set_enabled(bool(possible[name]))
            if self.buttons[name].get_label() != labels[name]:
                self.buttons[name].set_label(labels[name])
        return GLib.SOURCE_CONTINUE

    def tell(self, text, is_error=False):
        self.news.set_label(text)
        self.bar.set_message_type(Gtk.MessageType.ERROR if is_error else Gtk.MessageType.INFO)
        self.bar.set_revealed(True)

    # --- User actions

    def on_action(self, _action, _parameter, handler):
        try:
            handler()
        except GLib.Error as error:
            self.tell(error.message, is_error=True)
        self.update()

    def on_record(self):
        if self.pipeline.state != "inactive":
            self.pipeline.act("stop")
            self.saving = True
            return
        self.bar.set_revealed(False)
        self.marks = 0
        now = GLib.DateTime.new_now_local().format("%Y-%m-%d %H-%M-%S")
        ending = {"video/mp4": "mp4", "video/x-matroska": "mkv"}.get(self.args.type.split(";")[0], "webm")
        self.pipeline.start(os.path.join(self.args.directory, f"Camera {now}.{ending}"))

    def on_pause(self):
        self.pipeline.act("resume" if self.pipeline.state == "paused" else "pause")

    def on_mark(self):
        """Starts a chapter here, in a pause at the resume; the recorder reports its position."""
        self.pipeline.act("mark", f"Mark {self.marks + 1}")
        self.marks += 1

    def on_play(self):
        self.playing = not self.playing
        if self.playing:
            self.player.play(self.clip)
        else:
            self.player.close()

    def on_save(self):
        """The recording is a file already; here it is moved to the name and directory that the user selects."""
        if self.chooser is None:
            self.chooser = Gtk.FileChooserNative(
                title="Save the recording", transient_for=self, action=Gtk.FileChooserAction.SAVE, modal=True
            )
            self.chooser.connect("response", self.on_place_chosen)
        self.chooser.set_current_name(os.path.basename(self.clip))
        self.chooser.show()

    def on_place_chosen(self, chooser, response):
        if response == Gtk.ResponseType.ACCEPT:
            self.on_action(None, None, lambda: self.move_to(chooser.get_file()))

    def move_to(self, place):
        Gio.File.new_for_path(self.clip).move(place, Gio.FileCopyFlags.OVERWRITE, None, None)
        self.clip = place.get_path()
        self.tell(f"Saved as {self.clip}")

    def on_close(self, _window):
        """True: not yet."""
        if not self.closing and self.pipeline and (self.saving or self.pipeline.state != "inactive"):
            self.closing = True
            if not self.saving:
                self.on_action(None, None, self.on_record)
            return True
        self.player.close()
        if self.pipeline:
            self.pipeline.close()
        return False

    # --- Events

    def on_event(self, name, fields):
        if name == "error":
            # What was recorded so far is saved nevertheless: a stop follows.
            self.saving = True
            self.tell(fields.get_value("error").message, is_error=True)
        elif name == "mark":
            self.tell(f"{fields.get_string('title')} at {fields.get_value('timecode') / 1e9:.1f} s")
        elif name == "stop":
            self.saving = False
            self.clip = fields.get_string("location")
            seconds, size = fields.get_value("duration") / 1e9, GLib.format_size(fields.get_value("size"))
            print(f"{self.clip}: {seconds:.1f} s, {size}", flush=True)
            if not (self.bar.get_revealed() and self.bar.get_message_type() == Gtk.MessageType.ERROR):
                self.tell(f"{os.path.basename(self.clip)}: {seconds:.1f} s, {size}")
            if self.closing:
                self.close()
        self.update()

    def on_failure(self, text):
        """The camera, or the microphone, has failed."""
        self.tell(text, is_error=True)
        if self.pipeline and self.pipeline.state != "inactive":
            self.on_action(None, None, self.on_record)

    def on_played(self, error):
        self.playing = False
        if error is not None:
            self.tell(error, is_error=True)
        self.update()
