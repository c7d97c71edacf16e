#!/usr/bin/gjs -m
// Records audio and video, with a pause of a second in between, and saves the blobs
// itself as they arrive: one every half second.
//
//     gjs -m record.js FILE [MIME-TYPE]

import Gio from 'gi://Gio';
import GLib from 'gi://GLib';
import Gst from 'gi://Gst?version=1.0';
import System from 'system';
import {MediaRecorder} from './mediarecorder.js';

const second = () => new Promise(resolve => GLib.timeout_add_seconds(GLib.PRIORITY_DEFAULT, 1, () => {
    resolve();
    return GLib.SOURCE_REMOVE;
}));

async function save(blobs, path) {
    const stream = Gio.File.new_for_path(path).replace(null, false, Gio.FileCreateFlags.NONE, null);
    let saved = 0;
    for await (const blob of blobs) {
        stream.write_all(blob.bytes, null);
        saved += blob.bytes.length;
    }
    stream.close(null);
    return saved;
}

async function record(pipeline, path, mimeType = '') {
    const recorder = new MediaRecorder(pipeline.get_by_name('rec'), {mimeType});
    recorder.onpause = () => print('Paused');
    recorder.onresume = () => print('Going on');

    const started = recorder.start(500);
    const saved = save(recorder, path);
    print(`Recording ${await started}`);
    await second();
    recorder.pause();
    await second();
    recorder.resume();
    await second();
    await recorder.stop();
    print(`Saved ${await saved} bytes`);
}

async function main() {
    Gst.init(null);
    const pipeline = Gst.parse_launch(
        'audiotestsrc is-live=true ! rec.audio_0 ' +
        'videotestsrc is-live=true ! rec.video_0 ' +
        'mediarecorder name=rec');
    const bus = pipeline.get_bus();
    bus.add_signal_watch();
    const failure = new Promise((_resolve, reject) =>
        bus.connect('message::error', (_bus, message) => reject(message.parse_error()[0])));
    pipeline.set_state(Gst.State.PLAYING);
    pipeline.get_state(5 * Gst.SECOND);
    try {
        await Promise.race([record(pipeline, ...ARGV), failure]);
        return 0;
    } catch (error) {
        printerr(`${error.name === 'NotSupportedError' ? 'Not possible here' : 'Failed'}: ${error.message}`);
        return 1;
    } finally {
        pipeline.set_state(Gst.State.NULL);
    }
}

if (ARGV.length < 1 || ARGV.length > 2) {
    printerr('Usage: record.js FILE [MIME-TYPE]');
    System.exit(2);
}
const loop = new GLib.MainLoop(null, false);
let status = 1;
main().then(code => (status = code)).catch(logError).finally(() => loop.quit());
loop.run();
System.exit(status);
