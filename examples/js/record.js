#!/usr/bin/gjs -m
// Records sound and picture, with a second in between that is left out, and saves the blobs
// itself as they come: one each half second.
//
//     gjs -m record.js FILE [MIME-TYPE]
//
// gjs runs no callback in a foreign thread, so the events are taken from the bus, and with
// blob-messages the bytes too.

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Gst from 'gi://Gst?version=1.0';
import System from 'system';

const NOT_SUPPORTED = 1; // of InvalidState, NotSupported, InvalidModification, Security, Unknown

class App {
    constructor(path, mimeType = '') {
        this.loop = new GLib.MainLoop(null, false);
        this.failed = false;
        this.saved = 0;
        this.stream = Gio.File.new_for_path(path).replace(null, false, Gio.FileCreateFlags.NONE, null);
        this.pipeline = Gst.parse_launch(
            'audiotestsrc is-live=true ! rec.audio_0 ' +
            'videotestsrc is-live=true ! rec.video_0 ' +
            'mediarecorder name=rec timeslice=500 blob-messages=true');
        this.recorder = this.pipeline.get_by_name('rec');
        this.recorder.mime_type = mimeType;
        const bus = this.pipeline.get_bus();
        bus.add_signal_watch();
        bus.connect('message::error', (_bus, message) => {
            this.fail('The pipeline failed', message.parse_error()[0]);
            this.loop.quit();
        });
        bus.connect('message::element', (_bus, message) => this.onEvent(message.get_structure()));
    }

    run() {
        this.pipeline.set_state(Gst.State.PLAYING);
        this.pipeline.get_state(5 * Gst.SECOND);
        this.act('start');
        if (!this.failed)
            this.loop.run();
        this.pipeline.set_state(Gst.State.NULL);
        this.stream.close(null);
        return this.failed ? 1 : 0;
    }

    // An action returns null, or a GLib.Error: the application says what becomes of it.
    act(action) {
        const error = this.recorder.emit(action);
        if (error !== null) {
            const domain = GLib.quark_from_string('gst-media-recorder-error');
            const impossible = error.matches(domain, NOT_SUPPORTED);
            this.fail(impossible ? 'Not possible here' : 'Failed', error);
            this.loop.quit();
        }
    }

    fail(what, error) {
        printerr(`${what}: ${error.message}`);
        this.failed = true;
    }

    later(milliseconds, action) {
        GLib.timeout_add(GLib.PRIORITY_DEFAULT, milliseconds, () => {
            this.act(action);
            return GLib.SOURCE_REMOVE;
        });
    }

    onEvent(event) {
        switch (event.get_name()) {
        case 'mediarecorder-start':
            print(`Recording ${event.get_string('mime-type')}`);
            this.later(1000, 'pause');
            this.later(2000, 'resume');
            this.later(3000, 'stop');
            break;
        case 'mediarecorder-pause':
            print('Paused');
            break;
        case 'mediarecorder-resume':
            print('Going on');
            break;
        case 'mediarecorder-data-available': {
            const buffer = event.get_value('sample').get_buffer();
            const bytes = buffer.extract_dup(0, buffer.get_size());
            this.stream.write_all(bytes, null);
            this.saved += bytes.length;
            break;
        }
        case 'mediarecorder-error':
            // What was recorded so far still comes, in the last blob, and then the stop.
            this.fail('Recording failed', event.get_value('error'));
            break;
        case 'mediarecorder-stop':
            print(`Saved ${this.saved} bytes`);
            this.loop.quit();
            break;
        }
    }
}

Gst.init(null);
if (ARGV.length < 1 || ARGV.length > 2) {
    printerr('Usage: record.js FILE [MIME-TYPE]');
    System.exit(2);
}
System.exit(new App(...ARGV).run());
