//! All fixups, in installation order: by stage, and within a stage from top to bottom.

use super::{
    Fixup,
    Install::{Converters, Decoder, Encoder, Muxer, Parser, Source},
    Versions::{All, Before, From},
    *,
};
use crate::formats::Delay;

/// See the parent module.
pub const TABLE: &[Fixup] = &[
    Fixup {
        name: "mpeg2-aac",
        element: "mp4mux",
        versions: All,
        report: "rejects AAC-LC with MPEG-2 caps",
        needed: |s| s.copied && (s.codec, s.container) == (Codec::Aac, Container::Mp4),
        install: Source(|pad, _| mpeg4::call_it_mpeg4(pad)),
    },
    Fixup {
        name: "clipping-in-time",
        element: "matroskamux, oggmux, opusdec",
        versions: All,
        report: "abort on GstAudioClippingMeta in time format",
        needed: |s| formats::clipping_rate(&s.caps).is_some(),
        install: Source(|pad, s| {
            if let Some(rate) = formats::clipping_rate(&s.caps) {
                clipping::count_in_samples(pad, rate);
            }
        }),
    },
    Fixup {
        name: "headroom",
        element: "h264parse, h265parse",
        versions: All,
        report: "cannot timestamp before 0: the first decode times would be clamped",
        needed: |s| s.codec.kind() == Kind::Video,
        install: Source(|pad, s| decode_times::give_headroom(pad, s.headroom())),
    },
    Fixup {
        name: "full-range",
        element: "videoconvert",
        versions: All,
        report: "does not convert full range to limited range if the matrix is the same",
        needed: |s| s.codec.kind() == Kind::Video && !formats::carries_colorimetry(s.codec),
        install: Converters(|chain, _, track| {
            chain.splice(..0, colorimetry::range_converter(track.name)?);
            Ok(())
        }),
    },
    Fixup {
        name: "channel-positions",
        element: "audioconvert",
        versions: All,
        report: "does not negotiate channels without positions",
        needed: |s| s.codec.kind() == Kind::Audio && s.codec != Codec::Pcm,
        install: Converters(|chain, s, _| {
            if let Some(convert) = chain.first() {
                channel_positions::give(convert, &s.caps);
            }
            Ok(())
        }),
    },
    Fixup {
        name: "unknown-colours",
        element: "vp9enc, Chromium",
        versions: All,
        report: "treat full range as limited range if primaries or transfer function are unknown",
        needed: |s| s.codec.kind() == Kind::Video,
        install: Converters(|chain, _, _| {
            if let Some(pad) = chain.first().and_then(|first| first.static_pad("sink")) {
                colorimetry::complete(&pad);
            }
            Ok(())
        }),
    },
    Fixup {
        name: "constant-frame-rate",
        element: "theoraenc, oggmux",
        versions: All,
        report: "do not start with a variable frame rate",
        needed: |s| !s.takes_over && (s.codec == Codec::Theora || is_vp8_in_ogg(s)),
        install: Converters(|chain, _, _| {
            if let Some(first) = chain.first() {
                theora_cfr::assume_rate(first);
            }
            Ok(())
        }),
    },
    Fixup {
        name: "vp8-in-ogg-frames",
        element: "oggmux",
        versions: All,
        report: "counts VP8 frames instead of using their timestamps",
        needed: |s| !s.takes_over && is_vp8_in_ogg(s),
        install: Converters(|chain, _, _| {
            if let Some(filter) = chain.last() {
                vp8_in_ogg::repeat_frames(filter);
            }
            Ok(())
        }),
    },
    Fixup {
        name: "shown-frame-rate",
        element: "av1enc, x265enc",
        versions: All,
        report: "round stamps down to whole frames, or do not start with a variable frame rate",
        needed: |s| shown_rate(s).is_some(),
        install: Encoder(|encoder, s| {
            if let Some(shown) = shown_rate(s) {
                caps_overrides::show_frame_rate(encoder, shown);
            }
        }),
    },
    Fixup {
        name: "channel-order",
        element: "opusenc, flacenc",
        versions: Before(1, 28),
        report: "do not reorder channels for their codec",
        needed: |s| s.codec.kind() == Kind::Audio,
        install: Encoder(|encoder, _| channel_order::mend(encoder)),
    },
    Fixup {
        name: "theora-frames",
        element: "theoraenc, oggmux",
        versions: All,
        report: "lose the timing of frames whose duration differs from the frame rate",
        needed: |s| !s.takes_over && s.codec == Codec::Theora,
        install: Encoder(|encoder, s| theora_cfr::count(encoder, s.resumes)),
    },
    Fixup {
        name: "encoder-drain",
        element: "voaacenc, avenc_aac, lamemp3enc",
        versions: All,
        report: "do not output the last samples, or append packets of silence",
        needed: |s| s.drained_delay() > 0,
        install: Encoder(|encoder, s| {
            encoder_drain::push_out(encoder, s.drained_delay(), s.overlap.clone());
        }),
    },
    Fixup {
        name: "flac-caps",
        element: "flacenc",
        versions: All,
        report: "sends its segment before its caps if its input is shorter than a block",
        needed: |s| !s.takes_over && s.codec == Codec::Flac,
        install: Encoder(|encoder, _| flac::announce(encoder)),
    },
    Fixup {
        name: "decoder-start",
        element: "vorbisdec, opusdec, avdec_aac",
        versions: All,
        report: "output nothing for the first packet, and so begin late",
        needed: |s| s.codec.kind() == Kind::Audio,
        install: Decoder(decoder_start::fill),
    },
    Fixup {
        name: "flac-frame-numbers",
        element: "flacenc, flacparse",
        versions: All,
        report: "do not renumber frames, although players derive the time of a FLAC file from the numbers",
        needed: |s| s.codec == Codec::Flac,
        install: Parser(|parser, s, is_mixed| {
            let is_bare = s.container == Container::Flac;
            let from = (!s.copied || !is_bare).then(|| is_mixed.clone());
            let counted = flac::Counted { from, is_bare };
            if let Some(pad) = parser.static_pad("src") {
                flac::count_anew(&pad, counted);
            }
            if let Some(pad) = parser.static_pad("sink") {
                flac::note_silence(&pad, is_mixed.clone());
            }
        }),
    },
    Fixup {
        name: "keep-payload",
        element: "h264parse",
        versions: From(1, 26),
        report: "inserts parameter sets into the first keyframe even if it does not convert it",
        needed: |s| s.copied && s.codec == Codec::H264,
        install: Parser(|parser, _, _| keep_payload::keep(parser)),
    },
    Fixup {
        name: "av1-record",
        element: "av1parse",
        versions: All,
        report: "outputs caps without the AV1 configuration record",
        needed: |s| s.codec == Codec::Av1,
        install: Parser(|parser, _, _| av1::tell_by_caps(parser)),
    },
    Fixup {
        name: "muxer-caps",
        element: "mp4mux, matroskamux, oggmux",
        versions: All,
        report: "crash on some caps, and write files without media on others",
        needed: |_| true,
        install: Muxer(muxer_caps::vet),
    },
    Fixup {
        name: "key-marks",
        element: "matroskamux",
        versions: Before(1, 28),
        report: "marks frames as keyframes if their duration differs from the frame rate",
        needed: |s| s.codec.kind() == Kind::Video && is_matroska(s),
        install: Muxer(|site| key_marks::keep(site.mux_pad)),
    },
    Fixup {
        name: "full-range-colr",
        element: "qtdemux",
        versions: Before(1, 26),
        report: "reads full range in a colr box as limited range",
        needed: is_reorderable_in_mp4,
        install: Muxer(|site| colorimetry::keep_full_range_from_colr(site.mux_pad)),
    },
    Fixup {
        name: "vp8-in-ogg-header",
        element: "vp8enc",
        versions: All,
        report: "outputs caps without the Ogg header, without which oggmux writes no timestamps",
        needed: is_vp8_in_ogg,
        install: Muxer(|site| vp8_in_ogg::write_header(site.mux_pad)),
    },
    Fixup {
        name: "caps-once",
        element: "matroskamux, mp4mux",
        versions: All,
        report: "reject later caps, or overwrite the first fragment with a longer header",
        needed: |_| true,
        install: Muxer(|site| {
            let in_band = if site.spec.copied {
                caps_once::InBand::OnceChanged
            } else {
                caps_once::InBand::Always
            };
            caps_once::keep_first(site.mux_pad, site.spec.codec, in_band);
        }),
    },
    Fixup {
        name: "durations",
        element: "h264parse, h265parse, av1parse, aacparse, mpegaudioparse, flacparse",
        versions: Before(1, 28),
        report: "set durations to that of the frame rate, or of a whole audio frame",
        needed: |s| s.has_parser,
        install: Muxer(|site| durations::keep(site.parser, site.out)),
    },
    Fixup {
        name: "empty-tracks",
        element: "matroskamux, oggmux",
        versions: All,
        report: "wait forever for the caps of a track at EOS, or lose the other tracks",
        needed: |s| is_matroska(s) || s.container == Container::Ogg,
        install: Muxer(empty_tracks::take_out),
    },
    Fixup {
        name: "gaps",
        element: "matroskamux, mp4mux, oggmux",
        versions: All,
        report: "wait for a track without data, even after a GAP event; mp4mux moves a track that begins late to 0",
        needed: ChainSpec::takes_gaps,
        install: Muxer(|site| {
            gaps::stand_in(site.out, site.spec.headroom(), site.spec.container);
        }),
    },
    Fixup {
        name: "ogg-pages",
        element: "oggmux",
        versions: All,
        report: "does not start a page after a gap, although readers count samples over the packets of a page",
        needed: |s| s.container == Container::Ogg && s.codec.kind() == Kind::Audio,
        install: Muxer(|site| ogg_pages::divide(site.mux_pad, site.end.timeslice)),
    },
    Fixup {
        name: "ogg-ends",
        element: "oggmux",
        versions: All,
        report: "loses the last packets of a track that ends while it writes a page of another",
        needed: |s| s.container == Container::Ogg && !s.is_only,
        install: Muxer(ogg_ends::move_last),
    },
    Fixup {
        name: "ogg-flags",
        element: "oggmux",
        versions: All,
        report: "flags pages of audio-only files as delta units",
        needed: |s| s.container == Container::Ogg && s.audio_only && s.is_first,
        install: Muxer(|site| ogg_pages::unflag(&site.end.muxer)),
    },
    Fixup {
        name: "mp3-file",
        element: "xingmux",
        versions: All,
        report: "has no fields for encoder delay and padding, and does not support tags",
        needed: |s| s.container == Container::Mp3,
        install: Muxer(|site| {
            let room = site.end.head.chapters_room;
            mp3_file::write(&site.end.muxer, site.spec.encoder_delay(), room);
        }),
    },
    Fixup {
        name: "opus-stamps",
        element: "matroskamux, mp4mux",
        versions: All,
        report: "do not handle the pre-skip of Opus as their containers require",
        needed: |s| matches!(s.delay(), Some(Delay::PreSkip(_))),
        install: Muxer(opus::stamp),
    },
    Fixup {
        name: "decode-times",
        element: "mp4mux",
        versions: All,
        report: "delays a whole track by the PTS–DTS distance of its first frame",
        needed: is_reorderable_in_mp4,
        install: Muxer(decode_times::begin_at_zero),
    },
    Fixup {
        name: "codec-configuration",
        element: "mp4mux",
        versions: All,
        report: "writes no av1C, or a wrong one, and no level in vpcC",
        needed: |s| s.container == Container::Mp4 && matches!(s.codec, Codec::Av1 | Codec::Vp9),
        install: Muxer(codec_config::tell),
    },
    Fixup {
        name: "hdr-metadata",
        element: "mp4mux, matroskamux",
        versions: All,
        report: "write no mastering display metadata, or a fifth of its luminance",
        needed: |s| {
            s.codec.kind() == Kind::Video && (is_matroska(s) || s.container == Container::Mp4)
        },
        install: Muxer(codec_config::tell_hdr),
    },
];

fn is_matroska(spec: &ChainSpec) -> bool {
    matches!(spec.container, Container::WebM | Container::Matroska)
}

fn is_vp8_in_ogg(spec: &ChainSpec) -> bool {
    (spec.codec, spec.container) == (Codec::Vp8, Container::Ogg)
}

fn is_reorderable_in_mp4(spec: &ChainSpec) -> bool {
    spec.container == Container::Mp4 && spec.is_reorderable()
}

fn shown_rate(spec: &ChainSpec) -> Option<fn(gst::Fraction) -> gst::Fraction> {
    formats::shown_rate(spec.encoder.as_deref()?)
}
