// Tests examples/js/mediarecorder.js with a real recorder. Prints "ok" at the end.

import GLib from 'gi://GLib';
import Gst from 'gi://Gst?version=1.0';
import System from 'system';
import {MediaRecorder, MediaRecorderError} from '../../examples/js/mediarecorder.js';

const loop = new GLib.MainLoop(null, false);

function check(condition, what) {
    if (!condition)
        throw new Error(`not so: ${what}`);
}

function throws(name, call) {
    try {
        call();
    } catch (error) {
        check(error instanceof MediaRecorderError && error instanceof Error, `${error} is an Error of ours`);
        check(error.name === name && error.message, `${error} is ${name}`);
        return;
    }
    throw new Error(`${call} throws nothing`);
}

async function rejects(name, promise) {
    const error = await promise.then(() => null, e => e);
    check(error?.name === name, `${error} is ${name}`);
}

async function collect(blobs) {
    const all = [];
    try {
        for await (const blob of blobs)
            all.push(blob);
    } catch (error) {
        return {all, error};
    }
    return {all, error: null};
}

const size = blobs => blobs.reduce((sum, blob) => sum + blob.bytes.length, 0);

function methodsThrow(recorder) {
    check(recorder.state === 'inactive', 'inactive at first');
    for (const method of ['pause', 'resume', 'requestData', 'splitNow', 'mark', 'stop'])
        throws('InvalidStateError', () => recorder[method]());
    const {mime_type: wanted} = recorder.element;
    recorder.element.mime_type = 'video/pineapple';
    throws('NotSupportedError', () => recorder.start());
    recorder.element.mime_type = wanted;
    check(MediaRecorder.isTypeSupported('video/webm'), 'WebM is supported');
    check(!MediaRecorder.isTypeSupported('video/pineapple'), 'a pineapple is not');
}

// Iterators start with the recording in which they are created, and all return the same.
async function blobsArrive(recorder) {
    const events = [];
    for (const event of ['start', 'pause', 'resume', 'dataavailable', 'stop'])
        recorder[`on${event}`] = () => events.push(event);
    const early = collect(recorder);
    const started = recorder.start(200);
    throws('InvalidStateError', () => recorder.start());
    const beside = collect(recorder);
    check((await started).startsWith('video/webm'), 'the actual type');
    check(recorder.state === 'recording' && recorder.mimeType === await started, 'its attributes');

    let first = null;
    for await (const blob of recorder) {
        first = blob;
        break;
    }
    check(first.bytes.length === first.size && first.duration > 0, 'a blob');
    recorder.pause();
    check(recorder.state === 'paused', 'paused');
    recorder.resume();
    recorder.requestData();
    const {tracks, duration} = recorder.stats;
    check(tracks.length === 2 && tracks[0].pad === 'audio_0' && tracks[1].encoder, 'tracks in the stats');
    check(duration > 0, 'a duration in the stats');

    const stopped = await recorder.stop();
    check(recorder.state === 'inactive', 'inactive again');
    check(stopped.reason === 'stop' && stopped.intervals.length === 2, `${stopped.reason}, ${stopped.intervals}`);
    const begun = Number(stopped.intervals[0].utc / 1000000n);
    check(Math.abs(Date.now() - begun) < 600000, `it began at ${new Date(begun)}`);
    const blobs = (await early).all;
    check(size(blobs) === stopped.size && stopped.size > 0, `${size(blobs)} of ${stopped.size} bytes`);
    check(blobs.every((blob, i) => i === 0 || blob.offset === blobs[i - 1].offset + blobs[i - 1].size), 'in a row');
    check(size((await beside).all) === stopped.size, 'the same for both');
    check((await collect(recorder)).all.length === 0, 'nothing comes after the end');
    check(events[0] === 'start' && events.at(-1) === 'stop', `${events}`);
    check(events.indexOf('pause') < events.indexOf('resume'), `${events}`);
}

// The next one starts while the first one is still being finalised.
async function oneAfterTheOther(recorder) {
    const take = () => {
        recorder.start();
        return collect(recorder);
    };
    const one = take();
    const first = recorder.stop();
    const two = take();
    const second = recorder.stop();
    check(size((await one).all) === (await first).size, 'the bytes of the first');
    check(size((await two).all) === (await second).size, 'the bytes of the second');
}

// Two files of a recording with a past, with a mark in the second.
async function partsAndThePast(recorder) {
    const folder = GLib.dir_make_tmp('mediarecorder-XXXXXX');
    recorder.element.location = `${folder}/%d.webm`;
    recorder.element.pre_record_time = 200000000;
    while (recorder.stats.preRecorded < 200000000)
        await new Promise(resolve => GLib.timeout_add(GLib.PRIORITY_DEFAULT, 10, () => resolve()));
    const parts = [], marks = [];
    recorder.onpart = part => parts.push(part);
    const marked = new Promise(resolve => (recorder.onmark = mark => {
        marks.push(mark);
        resolve();
    }));
    const split = new Promise(resolve => (recorder.ondataavailable = resolve));
    await recorder.start();
    recorder.splitNow();
    await split;
    recorder.mark('here');
    await marked;
    const stopped = await recorder.stop();
    recorder.element.location = null;
    recorder.element.pre_record_time = 0;
    recorder.onpart = recorder.onmark = recorder.ondataavailable = null;

    check(parts.length === 2 && parts.every((part, n) => part.part === n && part.whole), JSON.stringify(parts));
    const [first, second] = parts;
    check(first.duration >= 200000000 && second.timecode === first.duration, JSON.stringify(parts));
    check(first.size + second.size === stopped.size, `${JSON.stringify(parts)}, ${stopped.size} bytes`);
    check(marks[0].title === 'here' && marks[0].part === 1, JSON.stringify(marks));
    check(stopped.intervals[0].runningTime === first.runningTime, JSON.stringify(parts));
    for (const part of parts)
        check(GLib.unlink(part.location) === 0, `${part.location} is a file`);
    GLib.rmdir(folder);
}

// A new track is InvalidModification: there is still a last blob.
async function failureIsTold(recorder) {
    let told = null;
    recorder.onerror = ({error}) => (told = error);
    await recorder.start();
    const blobs = collect(recorder);
    const added = recorder.element.request_pad_simple('audio_%u');
    const {all, error} = await blobs;
    check(error === told && error.name === 'InvalidModificationError', `${error}`);
    check(size(all) > 0, 'what was recorded until then');
    recorder.element.release_request_pad(added);
    const failing = recorder.start().then(() => {
        const ended = recorder.stop();
        return ended;
    });
    check((await failing).size > 0, 'the next one works');
}

async function main() {
    const pipeline = Gst.parse_launch(
        'audiotestsrc is-live=true ! rec.audio_0 videotestsrc is-live=true ! rec.video_0 mediarecorder name=rec');
    const element = pipeline.get_by_name('rec');
    try {
        new MediaRecorder(element, {mimeTipe: 'video/webm'});
        throw new Error('a misspelt option is taken');
    } catch (error) {
        check(/mime-tipe/.test(error.message), `${error.message}`);
    }
    const recorder = new MediaRecorder(element, {videoBitsPerSecond: 300000});
    recorder.element = element;
    check(element.video_bits_per_second === 300000, 'an option is a property');
    throws('NotSupportedError', () => recorder.start());
    pipeline.set_state(Gst.State.PLAYING);
    pipeline.get_state(5 * Gst.SECOND);
    methodsThrow(recorder);
    await blobsArrive(recorder);
    await oneAfterTheOther(recorder);
    await partsAndThePast(recorder);
    await failureIsTold(recorder);
    recorder.close();
    pipeline.set_state(Gst.State.NULL);
}

Gst.init(null);
let failed = true;
main().then(() => {
    failed = false;
    print('ok');
}).catch(logError).finally(() => loop.quit());
loop.run();
System.exit(failed ? 1 : 0);
