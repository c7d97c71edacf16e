//! Properties that change with `state`, and their notification.

use super::{imp::MediaRecorder, properties::RATES};
use crate::session::lock;
use gst::{prelude::*, subclass::prelude::*};

/// See the module.
pub(super) struct Readings {
    mime_type: String,
    /// In the order of [`RATES`].
    rates: [u32; RATES.len()],
}

impl MediaRecorder {
    /// Value of `mime-type`: the actual type while known, else the requested one.
    pub(super) fn mime_type(&self) -> String {
        let actual = lock(&self.control).actual.clone();
        actual.unwrap_or_else(|| lock(&self.values).mime_type.clone())
    }

    /// The current values.
    pub(super) fn readings(&self) -> Readings {
        let mime_type = self.mime_type();
        let rates = &lock(&self.values).bitrates;
        Readings {
            mime_type,
            rates: [rates.audio(), rates.video(), rates.total()],
        }
    }

    /// Notifies `state` and every property that differs from `before`. Call without a lock.
    pub(super) fn notify_state(&self, before: &Readings) {
        let now = self.readings();
        let obj = self.obj();
        obj.notify("state");
        if now.mime_type != before.mime_type {
            obj.notify("mime-type");
        }
        for (name, (now, before)) in RATES.iter().zip(now.rates.iter().zip(before.rates)) {
            if *now != before {
                obj.notify(name);
            }
        }
    }
}
