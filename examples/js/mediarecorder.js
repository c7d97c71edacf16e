// The browsers' MediaRecorder for gjs, around the element `mediarecorder`.
//
//     import {MediaRecorder} from './mediarecorder.js';
//
//     const recorder = new MediaRecorder(pipeline.get_by_name('rec'), {mimeType: 'video/webm'});
//     recorder.start(1000);                  // a blob every second
//     for await (const blob of recorder)     // until the recording has ended
//         save(blob.bytes);
//
// Methods throw where the browsers' do. Times are in nanoseconds, as everywhere in GStreamer. gjs makes a Number of each,
// which is exact up to 2^53 (104 days); `utc`, which is more, is a BigInt here, read from the structure's text.
// `onpart` and `onmark` are extensions: a finished file, and a mark.
//
// gjs runs no callback in a foreign thread, so the events are taken from the bus: the element has to be in its
// pipeline already, and a main loop has to run.

import GObject from 'gi://GObject';
import Gst from 'gi://Gst?version=1.0';

const NAMES = ['InvalidStateError', 'NotSupportedError', 'InvalidModificationError', 'SecurityError', 'UnknownError'];

/** An error of the recorder's; `name` is that of the browsers' DOMException. */
export class MediaRecorderError extends Error {
    constructor(error) {
        super(error.message);
        this.name = NAMES[error.code] ?? 'UnknownError';
    }
}

/** A promise with its `resolve` and `reject`; not an error if it is never awaited. */
function deferred() {
    const result = {};
    result.promise = new Promise((resolve, reject) => Object.assign(result, {resolve, reject}));
    result.promise.catch(() => {});
    return result;
}

/** A structure as an object, with its names in camel case. */
function toObject(structure) {
    const result = {};
    for (let i = 0; i < structure.n_fields(); i++) {
        const field = structure.nth_field_name(i);
        const name = field.replace(/-./g, dash => dash[1].toUpperCase());
        result[name] = toValue(structure, field);
    }
    return result;
}

function toValue(structure, field) {
    // gjs has no conversion for a GstValueArray.
    const [isArray, array] = structure.get_array(field);
    if (isArray)
        return Array.from({length: array.n_values}, (_, n) => toItem(array.get_nth(n)));
    // Nanoseconds since 1970 are more than a Number can hold.
    if (structure.get_field_type(field) === GObject.TYPE_INT64)
        return BigInt(structure.to_string().match(`\\b${field}=\\(gint64\\)(-?\\d+)`)[1]);
    return structure.get_value(field);
}

const toItem = value => value instanceof Gst.Structure ? toObject(value) : value;

/** The state of one recording. */
class Recording {
    begun = false;
    over = false;
    error = null;
    queues = new Set(); // the blobs that each iterator has yet to yield
    started = deferred();
    stopped = deferred();
    changed = deferred();
}

export class MediaRecorder {
    #element;
    #bus;
    #watch;
    #newest = new Recording();
    #unfinished = []; // oldest first: the next one may start while one is still being finalised

    /** Takes the element's properties as options, in camel case. */
    constructor(element, options = {}) {
        this.#element = element;
        for (const [name, value] of Object.entries({...options, blobMessages: true})) {
            const property = name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`);
            if (!element.constructor.find_property(property))
                throw new TypeError(`mediarecorder has no property ${property}`);
            element.set_property(property, value);
        }
        let pipeline = element;
        while (pipeline.get_parent())
            pipeline = pipeline.get_parent();
        this.#bus = pipeline.get_bus();
        this.#bus.add_signal_watch();
        this.#watch = this.#bus.connect('message::element', (_bus, message) => {
            const structure = message.get_structure();
            const [prefix, ...words] = structure.get_name().split('-');
            if (message.src === element && prefix === 'mediarecorder')
                this.#handle(words.join(''), toObject(structure));
        });
    }

    static isTypeSupported(type) {
        return Gst.ElementFactory.make('mediarecorder', null).emit('is-type-supported', type);
    }

    get state() {
        return ['inactive', 'recording', 'paused'][this.#element.state];
    }

    get mimeType() {
        return this.#element.mime_type;
    }

    get stats() {
        return toObject(this.#element.stats);
    }

    /** Starts a recording, with a blob every `timeslice` ms. Resolves with its actual type. */
    start(timeslice = 0) {
        this.#element.timeslice = timeslice;
        this.#act('start');
        return this.#begin().started.promise;
    }

    pause() {
        this.#act('pause');
    }

    resume() {
        this.#act('resume');
    }

    requestData() {
        this.#act('request-data');
    }

    /** Continues in the next part: a new file if `location` has a `%d`, otherwise blobs that form one. */
    splitNow() {
        this.#act('split-now');
    }

    /** Marks this instant: a chapter with this title starts here. */
    mark(title = '') {
        this.#act('mark', title);
    }

    /** Resolves with `{location, duration, size}` once the recording is complete; rejects if it has failed. */
    stop() {
        this.#act('stop');
        return (this.#unfinished.at(-1) ?? this.#begin()).stopped.promise;
    }

    /**
     * The blobs of the newest recording from now on: `{bytes, timecode, duration, mimeType, …}`. Throws
     * after the last one if the recording has failed.
     */
    async *[Symbol.asyncIterator]() {
        const recording = this.#newest;
        const queue = [];
        recording.queues.add(queue);
        try {
            while (!recording.over || queue.length) {
                if (!queue.length)
                    await recording.changed.promise;
                yield* queue.splice(0);
            }
        } finally {
            recording.queues.delete(queue);
        }
        if (recording.error)
            throw recording.error;
    }

    /** Disconnects from the bus: no events from now on. */
    close() {
        this.#bus.disconnect(this.#watch);
        this.#bus.remove_signal_watch();
    }

    #act(action, ...args) {
        const error = this.#element.emit(action, ...args);
        if (error)
            throw new MediaRecorderError(error);
    }

    #begin() {
        if (this.#newest.begun)
            this.#newest = new Recording();
        this.#newest.begun = true;
        this.#unfinished.push(this.#newest);
        return this.#newest;
    }

    #handle(event, detail) {
        const recording = this.#unfinished[0] ?? this.#begin(); // autostart begins without start()
        if (event === 'start') {
            recording.started.resolve(detail.mimeType);
        } else if (event === 'dataavailable') {
            const buffer = detail.sample.get_buffer();
            detail.bytes = detail.size ? buffer.extract_dup(0, detail.size) : new Uint8Array();
            recording.queues.forEach(queue => queue.push(detail));
        } else if (event === 'error') {
            recording.error = detail.error = new MediaRecorderError(detail.error);
        } else if (event === 'stop') {
            recording.over = true;
            this.#unfinished.shift();
            if (recording.error)
                recording.stopped.reject(recording.error);
            else
                recording.stopped.resolve(detail);
        }
        recording.changed.resolve();
        recording.changed = deferred();
        this[`on${event}`]?.(detail); // onstart, onpause, onresume, ondataavailable, onpart, onmark, onerror, onstop
    }
}
