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

/// What happens in a recording (W3C events, [`Event::Mark`] and [`Event::Part`]). A recording's last are [`Event::Error`], if
/// it has failed, [`Event::Data`], [`Event::Part`] and [`Event::Stop`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// It has begun.
    Start,
    /// It was paused.
    Pause,
    /// It goes on.
    Resume,
    /// A piece of it.
    Data(Blob),
    /// It cannot go on; what there is comes next.
    Error(Error),
    /// A mark has its place.
    Mark(Mark),
    /// A part is over, and its file whole.
    Part(Part),
    /// It is over.
    Stop,
}

/// The events of a recorder from [`MediaRecorder::events`] on, in order.
///
/// A [`Stream`] that any executor can poll: the main loop of glib, tokio, or
/// `futures::executor`. Nothing is lost while nobody polls, and nothing waits for it: what was
/// not taken yet, blobs included, stays in memory. Ends when the recorder is gone, that is
/// with its last reference: keep none in the task that waits for the end of the stream.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::UnboundedReceiver<Event>,
    recorder: glib::WeakRef<MediaRecorder>,
    handlers: Vec<glib::SignalHandlerId>,
}

impl Events {
    pub(super) fn of(recorder: &MediaRecorder) -> Self {
        let (sender, receiver) = mpsc::unbounded();
        // Who has dropped the stream wants nothing more.
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

    /// The next event, for those who have no `StreamExt`; `None` once the recorder is gone.
    ///
    /// May be cancelled: no event is lost by it.
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
