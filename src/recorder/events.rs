//! The events of a recorder as an asynchronous stream.

use super::{Blob, Mark, MediaRecorder, Part};
use crate::model::Error;
use futures_channel::mpsc;
use futures_core::Stream;
use glib::prelude::*;
use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

/// An event of a recording (the W3C events, [`Event::Mark`] and [`Event::Part`]). The last ones of a recording are
/// [`Event::Error`] if it failed, [`Event::Data`], [`Event::Part`] and [`Event::Stop`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The recording has started.
    Start,
    /// The recording was paused.
    Pause,
    /// The recording was resumed.
    Resume,
    /// A chunk of the recording.
    Data(Blob),
    /// The recording has failed; the data so far follows.
    Error(Error),
    /// A mark has been placed.
    Mark(Mark),
    /// A part has ended and its file is complete.
    Part(Part),
    /// The recording has ended.
    Stop,
}

/// The events of a recorder since [`MediaRecorder::events`], in order.
///
/// A [`Stream`] for any executor: the glib main loop, tokio, or `futures::executor`. Events are queued without limit
/// while the stream is not polled, and blobs stay in memory until taken; the recording never waits for it. The stream
/// ends with the recorder's last reference: keep none in the task that waits for the end of the stream.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
    recorder: glib::WeakRef<MediaRecorder>,
    handlers: Vec<glib::SignalHandlerId>,
}

impl Events {
    pub(super) fn of(recorder: &MediaRecorder) -> Self {
        let (sender, receiver) = mpsc::unbounded();
        // Fails only once the stream has been dropped.
        let tell = move |event| drop(sender.unbounded_send(event));
        let (start, pause, resume, stop) = (tell.clone(), tell.clone(), tell.clone(), tell.clone());
        let (data, error, mark, part) = (tell.clone(), tell.clone(), tell.clone(), tell);
        let handlers = vec![
            recorder.connect_start(move |_| start(Event::Start)),
            recorder.connect_pause(move |_| pause(Event::Pause)),
            recorder.connect_resume(move |_| resume(Event::Resume)),
            recorder.connect_data_available(move |_, blob| data(Event::Data(blob))),
            recorder.connect_error(move |_, reason| error(Event::Error(reason))),
            recorder.connect_mark(move |_, made| mark(Event::Mark(made))),
            recorder.connect_part(move |_, over| part(Event::Part(over))),
            recorder.connect_stop(move |_| stop(Event::Stop)),
        ];
        Events {
            receiver,
            recorder: recorder.downgrade(),
            handlers,
        }
    }

    /// The next event, without `StreamExt`; `None` once the recorder is gone.
    ///
    /// Cancel-safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| Pin::new(&mut self.receiver).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        Pin::new(&mut self.receiver).poll_next(context)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(recorder) = self.recorder.upgrade() {
            for handler in self.handlers.drain(..) {
                recorder.disconnect(handler);
            }
        }
    }
}
