//! Sets element properties if they exist.

use gst::prelude::*;

fn writable(element: &gst::Element, property: &str) -> Option<glib::ParamSpec> {
    let pspec = element.find_property(property)?;
    let flags = pspec.flags();
    let construct_only = flags.contains(glib::ParamFlags::CONSTRUCT_ONLY);
    (flags.contains(glib::ParamFlags::WRITABLE) && !construct_only).then_some(pspec)
}

/// Sets a property from a string, as in gst-launch-1.0, if the element has it and the value is valid.
pub fn set(element: &gst::Element, property: &str, text: &str) {
    if let Some(pspec) = writable(element, property)
        && let Ok(value) = glib::Value::deserialize_with_pspec(text, &pspec)
    {
        element.set_property_from_value(property, &value);
    }
}

/// Sets a numeric property of any type, if the element has it, to the nearest value in its range.
pub fn set_number(element: &gst::Element, property: &str, number: u64) {
    let Some(pspec) = writable(element, property) else {
        return;
    };
    let wanted = i128::from(number);
    let value = if let Some(range) = pspec.downcast_ref::<glib::ParamSpecInt>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        i32::try_from(value).ok().map(|value| value.to_value())
    } else if let Some(range) = pspec.downcast_ref::<glib::ParamSpecUInt>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        u32::try_from(value).ok().map(|value| value.to_value())
    } else if let Some(range) = pspec.downcast_ref::<glib::ParamSpecInt64>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        i64::try_from(value).ok().map(|value| value.to_value())
    } else if let Some(range) = pspec.downcast_ref::<glib::ParamSpecUInt64>() {
        let value = wanted.clamp(range.minimum().into(), range.maximum().into());
        u64::try_from(value).ok().map(|value| value.to_value())
    } else {
        None
    };
    if let Some(value) = value {
        element.set_property_from_value(property, &value);
    }
}
