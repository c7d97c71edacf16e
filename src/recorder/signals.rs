//! The element's signals: actions, events, `encoder-setup`, `is-type-supported`.

use super::{guard::guarded, imp::MediaRecorder};
use crate::{
    formats,
    model::{Command, Error},
};
use glib::subclass::{Signal, prelude::*};
use gst::prelude::*;
use once_cell::sync::Lazy;

/// An action signal without arguments.
fn action(name: &str, command: Command) -> Signal {
    action_with(name, &[], move |recorder, _| recorder.act(command))
}

fn action_with(
    name: &str,
    arguments: &[glib::Type],
    act: impl Fn(&MediaRecorder, &[glib::Value]) -> Result<(), Error> + Send + Sync + 'static,
) -> Signal {
    Signal::builder(name)
        .action()
        .param_types(arguments.iter().copied())
        .return_type::<Option<glib::Error>>()
        .class_handler(move |args| {
            let done =
                guarded(
                    || match args.first().map(|arg| arg.get::<super::MediaRecorder>()) {
                        Some(Ok(recorder)) => {
                            let recorder = recorder.imp();
                            let failed = Err(Error::unknown("The recorder has failed."));
                            recorder.contain(failed, || act(recorder, args))
                        }
                        _ => Err(Error::unknown("This is no mediarecorder.")),
                    },
                );
            Some(done.err().map(glib::Error::from).to_value())
        })
        .build()
}

/// All signals.
pub static SIGNALS: Lazy<Vec<Signal>> = Lazy::new(|| {
    vec![
        action("start", Command::Start),
        action("pause", Command::Pause),
        action("resume", Command::Resume),
        action("stop", Command::Stop),
        action("request-data", Command::RequestData),
        action("split-now", Command::SplitNow),
        action_with("mark", &[String::static_type()], |recorder, args| {
            let title = args.get(1).and_then(|arg| arg.get::<Option<String>>().ok());
            recorder.mark(&title.flatten().unwrap_or_default())
        }),
        Signal::builder("is-type-supported")
            .action()
            .param_types([String::static_type()])
            .return_type::<bool>()
            .class_handler(|args| {
                let supported = guarded(|| {
                    let text = args.get(1).and_then(|arg| arg.get::<Option<String>>().ok());
                    let text = text.flatten().unwrap_or_default();
                    Ok(formats::is_type_supported(&text))
                });
                Some(supported.unwrap_or(false).to_value())
            })
            .build(),
        Signal::builder("on-start").build(),
        Signal::builder("on-pause").build(),
        Signal::builder("on-resume").build(),
        Signal::builder("on-data-available")
            .param_types([gst::Sample::static_type()])
            .build(),
        Signal::builder("on-part")
            .param_types([gst::Structure::static_type()])
            .build(),
        Signal::builder("on-mark")
            .param_types([gst::Structure::static_type()])
            .build(),
        Signal::builder("on-error")
            .param_types([glib::Error::static_type()])
            .build(),
        Signal::builder("on-stop").build(),
        Signal::builder("format-location")
            .param_types([u32::static_type()])
            .return_type::<Option<String>>()
            .build(),
        Signal::builder("encoder-setup")
            .param_types([gst::Pad::static_type(), gst::Element::static_type()])
            .build(),
    ]
});
