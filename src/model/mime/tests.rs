//! Valid and invalid MIME types.

use super::*;
use crate::model::ErrorCode;
use proptest::prelude::*;

fn codecs(text: &str) -> Vec<Codec> {
    let parsed = MimeType::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    parsed.codecs.iter().map(|named| named.codec).collect()
}

#[test]
fn parses_valid_types() {
    for (text, expected) in [
        ("video/webm", &[][..]),
        ("video/webm;codecs=", &[]),
        ("video/webm; codecs=\"\"", &[]),
        ("VIDEO/WebM;CODECS=VP8,OPUS", &[C::Vp8, C::Opus]),
        (
            " video/webm ; codecs = \" vp8 , opus \" ",
            &[C::Vp8, C::Opus],
        ),
        ("video/webm;codecs='vp9,opus'", &[C::Vp9, C::Opus]),
        ("video/webm;codecs=opus", &[C::Opus]),
        ("video/webm;codecs=vp09.00.10.08", &[C::Vp9]),
        ("video/webm;codecs=av01.0.04M.08", &[C::Av1]),
        ("video/webm;foo=\"a;b\";codecs=vp8", &[C::Vp8]),
        ("audio/webm;codecs=vorbis", &[C::Vorbis]),
        (
            "video/x-matroska;codecs=\"avc1.42E01E,pcm\"",
            &[C::H264, C::Pcm],
        ),
        (
            "video/x-matroska;codecs=hvc1.1.6.L123.00,flac",
            &[C::H265, C::Flac],
        ),
        ("video/mp4;codecs=avc3.64001f,mp4a.40.2", &[C::H264, C::Aac]),
        (
            "video/mp4;codecs=\"hev1.1.6.L93.B0, opus\"",
            &[C::H265, C::Opus],
        ),
        ("video/mp4;codecs=avc1.66.30,mp3", &[C::H264, C::Mp3]),
        ("video/mp4;codecs=hvc1", &[C::H265]),
        ("audio/mp4;codecs=mp4a.40.2", &[C::Aac]),
        ("video/ogg;codecs=theora,vorbis", &[C::Theora, C::Vorbis]),
        ("audio/wav;codecs=1", &[C::Pcm]),
        ("audio/flac", &[]),
        ("audio/mpeg;codecs=mp3", &[C::Mp3]),
    ] {
        assert_eq!(codecs(text), expected, "{text}");
    }
    let avc = MimeType::parse("video/mp4;codecs=avc3.42E01E").unwrap();
    assert_eq!(avc.codec(Kind::Video).unwrap().text, "avc3.42E01E");
    assert_eq!(avc.codec(Kind::Audio), None);
}

#[test]
fn refuses_the_rest_with_advice() {
    for text in [
        "",
        "video",
        "video/",
        "/webm",
        "audio/banana",
        "video/pineapple",
        "video/invalid",
        "video/wav",
        "text/webm",
        "video/webm;codecs=banana",
        "video/webm;codecs=vp8,",
        "video/webm;codecs=vp8,,opus",
        "video/webm;codecs=\"vp8",
        "video/webm;codecs=vp8\"",
        "video/webm;codecs=vp8 opus",
        "video/webm;codecs=vp8,vp9",
        "video/webm;codecs=opus,vorbis",
        "video/webm;codecs=avc1",
        "video/webm;codecs=mp4a.40.2",
        "audio/webm;codecs=vp8",
        "video/mp4;codecs=vp8",
        "video/mp4;codecs=avc1.42E0",
        "video/mp4;codecs=avc1.zzzzzz",
        "video/mp4;codecs=avc1.00001E",
        "video/mp4;codecs=hvc1.1.6",
        "video/mp4;codecs=av01.9.04M.08",
        "video/mp4;codecs=vp09.00",
        "video/mp4;codecs=mp4a.40.5",
        "video/mp4;codecs=vorbis",
        "audio/wav;codecs=opus",
        "audio/flac;codecs=opus",
    ] {
        let error = MimeType::parse(text).expect_err(text);
        assert_eq!(error.code(), ErrorCode::NotSupported);
        let (asked, advice) = error.message().split_once("; ").expect(text);
        assert!(asked.starts_with("mime-type \""), "{error}");
        assert!(!advice.is_empty(), "{error}");
    }
}

#[test]
fn locations() {
    for (location, expected) in [
        ("a.webm", Some(Container::WebM)),
        ("/tmp/x%03d.MKV", Some(Container::Matroska)),
        ("a.b.m4a", Some(Container::Mp4)),
        ("a.opus", Some(Container::Ogg)),
        ("a.wav", Some(Container::Wav)),
        ("a.flac", Some(Container::Flac)),
        ("a.mp3", Some(Container::Mp3)),
        ("a.txt", None),
        ("webm", None),
        (".webm", None),
        ("", None),
    ] {
        assert_eq!(Container::of_location(location), expected, "{location}");
    }
}

#[test]
fn every_codec_has_a_container_and_its_name_parses_back() {
    for codec in Codec::ALL {
        assert_eq!(Codec::parse(codec.text()), Some(codec));
        assert!(Container::ALL.iter().any(|c| c.takes(codec)), "{codec:?}");
    }
    for container in Container::ALL {
        for kind in [Kind::Audio, Kind::Video] {
            let parsed = Container::parse(kind, container.subtype());
            let expected = !container.codecs(kind).is_empty();
            assert_eq!(parsed.is_some(), expected, "{container:?} {kind:?}");
            for codec in container.codecs(kind) {
                assert_eq!(codec.kind(), kind);
            }
        }
    }
}

proptest! {
    #[test]
    fn never_panics(text in any::<String>(), location in any::<String>()) {
        let _ = MimeType::parse(&text);
        let _ = Container::of_location(&location);
    }

    #[test]
    fn never_panics_on_almost_valid_input(
        text in "(audio|video|Video)/(webm|mp4|x-matroska|ogg|wav)(;| ; )?(codecs)?[=\"' ]{0,4}\
                 ([a-z0-9]{0,4}(\\.[0-9a-fA-FMLé]{0,6}){0,4}[,\"; ]{0,2}){0,3}"
    ) {
        if let Ok(found) = MimeType::parse(&text) {
            for named in &found.codecs {
                prop_assert!(found.container.takes(named.codec));
                prop_assert_eq!(Codec::parse(&named.text), Some(named.codec));
            }
        }
    }
}
