//! Video frames in memory other than system memory, such as GPU memory.
//!
//! All supported memory types can be mapped for reading, which downloads the data. Those that cannot (DRM
//! formats that are tiled or compressed; NVMM, which maps to a descriptor) are not in the caps.

use gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY as SYSTEM;

const GL: &str = "memory:GLMemory";
/// Caps features of raw video whose memory can be mapped.
const MAPPED: [&str; 7] = [
    "memory:DMABuf",
    GL,
    "memory:VAMemory",
    "memory:VASurface",
    "memory:CUDAMemory",
    "memory:D3D11Memory",
    "memory:D3D12Memory",
];
/// Readable GL texture targets; imported textures (`external-oes`) are not readable.
const TEXTURES: [&str; 2] = ["2D", "rectangle"];

/// Raw video caps with mappable memory.
pub fn mapped_caps() -> gst::Caps {
    let formats: Vec<&str> = gst_video::VideoFormat::iter_raw()
        .map(|format| format.to_str().as_str())
        .collect();
    let mut all = gst::Caps::new_empty();
    for feature in MAPPED {
        let caps = gst::Caps::builder("video/x-raw")
            .features([feature])
            .field("format", gst::List::new(formats.iter().copied()));
        all.merge(match feature {
            GL => caps
                .field("texture-target", gst::List::new(TEXTURES))
                .build(),
            _ => caps.build(),
        });
    }
    all
}

/// The caps after a download to system memory.
pub fn in_system_memory(caps: &gst::CapsRef) -> gst::Caps {
    match (caps.structure(0), caps.features(0)) {
        (Some(structure), Some(features))
            if MAPPED.iter().any(|feature| features.contains(*feature)) =>
        {
            let mut plain = structure.to_owned();
            plain.remove_field("texture-target");
            let mut caps = gst::Caps::new_empty();
            caps.merge_structure(plain);
            caps
        }
        _ => caps.to_owned(),
    }
}

/// Sorts structures with system memory first, so that upstream prefers it.
pub fn system_memory_first(caps: &gst::CapsRef) -> gst::Caps {
    let mut ordered = gst::Caps::new_empty();
    for first in [true, false] {
        for (structure, features) in caps.iter_with_features() {
            if features.is_any() || features.contains(SYSTEM) == first {
                let (structure, features) = (structure.to_owned(), features.to_owned());
                ordered.merge_structure_full(structure, Some(features));
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(text: &str) -> gst::Caps {
        gst::init().unwrap();
        text.parse().unwrap()
    }

    #[test]
    fn mappable_memory_is_accepted_and_becomes_system_memory() {
        for (text, taken) in [
            (
                "video/x-raw(memory:DMABuf),format=NV12,width=64,height=48",
                true,
            ),
            (
                "video/x-raw(memory:DMABuf),format=DMA_DRM,width=64,height=48",
                false,
            ),
            (
                "video/x-raw(memory:NVMM),format=NV12,width=64,height=48",
                false,
            ),
            (
                "video/x-raw(memory:GLMemory),format=RGBA,texture-target=rectangle",
                true,
            ),
            (
                "video/x-raw(memory:GLMemory),format=RGBA,texture-target=external-oes",
                false,
            ),
            ("video/x-raw(memory:VAMemory),format=NV12", true),
            (
                "video/x-raw(memory:GLMemory,meta:GstVideoOverlayComposition),format=RGBA",
                false,
            ),
        ] {
            let given = caps(text);
            assert_eq!(given.is_subset(&mapped_caps()), taken, "{text}");
            if taken {
                let plain = in_system_memory(&given);
                assert!(plain.features(0).unwrap().contains(SYSTEM), "{plain}");
                let structure = plain.structure(0).unwrap();
                assert!(structure.has_field("format"), "{plain}");
                assert!(!structure.has_field("texture-target"), "{plain}");
            }
        }
        for text in ["video/x-raw,format=I420", "video/x-vp8", "EMPTY", "ANY"] {
            assert_eq!(in_system_memory(&caps(text)), caps(text));
        }
    }

    #[test]
    fn system_memory_is_preferred() {
        let offered = caps("video/x-raw(memory:GLMemory);video/x-raw;video/x-vp8");
        let due = caps("video/x-raw;video/x-vp8;video/x-raw(memory:GLMemory)");
        assert_eq!(system_memory_first(&offered).to_string(), due.to_string());
    }
}
