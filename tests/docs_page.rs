//! Documentation tests: the element's page is up to date, and its command lines work.
//!
//! `MEDIARECORDER_WRITE_DOCS=1 cargo test --test docs_page` regenerates the page's reference.

mod common;

use common::harness::media::{assert_plays, run};
use common::harness::{make_recorder, plugin};
use glib::object::ObjectClass;
use gst::prelude::*;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const MARK: &str = "<!-- From here on ";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/mediarecorder.md")
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).expect("text")
}

/// The description of a value type, from introspection.
fn default_of(pspec: &glib::ParamSpec) -> String {
    let value = pspec.default_value();
    if value.type_().is_a(glib::Type::BOXED) {
        return "NULL".into();
    }
    if let Some((_, nick)) =
        glib::EnumValue::from_value(value).map(|(_, v)| ((), v.nick().to_owned()))
    {
        return nick;
    }
    match value.get::<Option<String>>() {
        Ok(None) => "NULL".into(),
        Ok(Some(text)) => format!("\"{text}\""),
        Err(_) => match value.transform::<String>() {
            Ok(text) => text
                .get::<Option<String>>()
                .ok()
                .flatten()
                .unwrap_or_else(|| "NULL".into()),
            Err(_) => "NULL".into(),
        },
    }
}

fn properties(out: &mut String, class: &ObjectClass, owner: glib::Type) {
    let mut all: Vec<_> = class.list_properties().to_vec();
    all.retain(|pspec| pspec.owner_type() == owner);
    all.sort_by(|a, b| a.name().cmp(b.name()));
    let _ = writeln!(out, "| property | type | default | |\n|---|---|---|---|");
    for pspec in all {
        let access = if pspec.flags().contains(glib::ParamFlags::WRITABLE) {
            ""
        } else {
            "Read-only. "
        };
        let blurb = pspec.blurb().unwrap_or_default();
        let (name, kind) = (pspec.name(), pspec.value_type());
        let _ = writeln!(
            out,
            "| `{name}` | {kind} | {} | {access}{blurb} |",
            default_of(&pspec)
        );
    }
}

fn enumeration(out: &mut String, name: &str) {
    let kind = glib::Type::from_name(name).expect("a registered type");
    let class = glib::EnumClass::with_type(kind).expect("an enumeration");
    let values = class.values().iter();
    values_of(
        out,
        name,
        values.map(|value| (value.nick(), value.value().to_string(), value.name())),
    );
}

fn flags(out: &mut String, name: &str) {
    let kind = glib::Type::from_name(name).expect("a type");
    let class = glib::FlagsClass::with_type(kind).expect("flags");
    let values = class.values().iter();
    values_of(
        out,
        name,
        values.map(|value| (value.nick(), value.value().to_string(), value.name())),
    );
}

/// Nick, number and meaning of each value of a type.
fn values_of<'a>(
    out: &mut String,
    name: &str,
    values: impl Iterator<Item = (&'a str, String, &'a str)>,
) {
    let _ = writeln!(out, "\n### {name}\n");
    for (nick, number, meaning) in values {
        let _ = writeln!(out, "- `{nick}` ({number}): {meaning}");
    }
}

/// The reference part of the page, generated from the element.
fn reference() -> String {
    let recorder = make_recorder();
    let kind = recorder.type_();
    let mut out = String::from("\n## Pads\n\n| template | presence | caps |\n|---|---|---|\n");
    let factory = recorder.factory().expect("a factory");
    let mut templates: Vec<_> = factory.static_pad_templates().into_iter().collect();
    templates.sort_by_key(|template| template.name_template().to_string());
    for template in templates {
        let caps = template.caps();
        let mut names: Vec<_> = caps
            .iter_with_features()
            .map(|(s, features)| match features.to_string().as_str() {
                "memory:SystemMemory" => format!("`{}`", s.name()),
                other => format!("`{}({other})`", s.name()),
            })
            .collect();
        names.dedup();
        // What can be decoded depends on the installed decoders; the recorder's own caps are first.
        let own = match template.name_template() {
            "audio_%u" => Some("`audio/x-mulaw`"),
            "video_%u" => Some("`video/x-raw(memory:D3D12Memory)`"),
            _ => None,
        };
        let own = own.and_then(|last| names.iter().position(|name| name == last));
        let names = if caps.is_any() {
            "anything".into()
        } else if let Some(last) = own {
            names.truncate(last + 1);
            names.join(", ") + ", and what an installed decoder takes"
        } else {
            names.join(", ")
        };
        let presence = format!("{:?}", template.presence()).to_lowercase();
        let _ = writeln!(
            out,
            "| `{}` | {presence} | {names} |",
            template.name_template()
        );
    }
    let _ = writeln!(out, "\nSink pads are `GstMediaRecorderPad`:\n");
    let pad = recorder.request_pad_simple("audio_%u").expect("a pad");
    properties(&mut out, pad.object_class(), pad.type_());
    let _ = writeln!(out, "\n## Properties\n");
    properties(&mut out, recorder.object_class(), kind);
    for name in ["GstMediaRecorderState", "GstMediaRecorderBitrateMode"] {
        enumeration(&mut out, name);
    }
    flags(&mut out, "GstMediaRecorderKeep");
    let _ = writeln!(out, "\n## Signals\n\n```text");
    for query in signals(kind) {
        let arguments = query.param_types().iter().map(|kind| kind.type_().name());
        let arguments: Vec<_> = arguments.collect();
        let returns = query.return_type().type_().name();
        let returns = if returns == "void" {
            String::new()
        } else {
            format!(" -> {returns}")
        };
        let is_action = query.flags().contains(glib::SignalFlags::ACTION);
        let action = if is_action { "  (action)" } else { "" };
        let _ = writeln!(
            out,
            "{} ({}){returns}{action}",
            query.signal_name(),
            arguments.join(", ")
        );
    }
    let _ = writeln!(out, "```");
    out
}

/// All signals: GObject cannot list them in Rust, so gst-inspect-1.0 provides the names.
fn signals(kind: glib::Type) -> Vec<glib::subclass::SignalQuery> {
    let (text, _) = run(plugin::command("gst-inspect-1.0").args(["--no-colors", "mediarecorder"]));
    let text = String::from_utf8(text).expect("text");
    let (_, signals) = text.split_once("Element Signals:").expect("signals");
    let names = signals
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split('"').next());
    let ids = names.map(|name| glib::subclass::SignalId::lookup(name, kind));
    let mut all: Vec<_> = ids.map(|id| id.expect("a signal").query()).collect();
    assert!(all.len() >= 13, "{signals}");
    all.sort_by_key(|query| query.signal_name().to_owned());
    all
}

#[test]
fn the_page_matches_the_element() {
    let text = read("docs/mediarecorder.md");
    let mark = text.find(MARK).expect("the mark");
    let end = mark + text[mark..].find('\n').expect("a line") + 1;
    let (written, found) = text.split_at(end);
    let wanted = reference();
    if std::env::var_os("MEDIARECORDER_WRITE_DOCS").is_some() {
        std::fs::write(page(), format!("{written}{wanted}")).expect("written");
        return;
    }
    assert_eq!(
        found, wanted,
        "docs/mediarecorder.md is stale: MEDIARECORDER_WRITE_DOCS=1 cargo test --test docs_page"
    );
}

#[test]
fn the_page_explains_every_signal() {
    let text = read("docs/mediarecorder.md");
    let (written, _) = text.split_once(MARK).expect("the mark");
    for query in signals(make_recorder().type_()) {
        let name = format!("`{}`", query.signal_name());
        assert!(written.contains(&name), "{name} is not explained");
    }
}

/// Runs a shell line in an environment with the plugin, and checks every file that it claims to write.
fn assert_line_works(line: &str, folder: &Path) {
    let mut command = plugin::command("timeout");
    run(command.args(["60", "sh", "-c", line]).current_dir(folder));
    let files: Vec<&str> = line
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("location="))
        .collect();
    assert!(!files.is_empty(), "writes nothing: {line}");
    for file in files {
        assert_plays(&folder.join(file).display().to_string());
    }
}

#[test]
fn the_lines_of_the_section_comment_work() {
    let source = read("src/recorder/imp.rs");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let blocks: Vec<&str> = source
        .split("|[")
        .skip(1)
        .map(|rest| rest.split("]|").next().expect("closed"))
        .collect();
    assert!(blocks.len() >= 3, "{blocks:?}");
    for block in blocks {
        let line = block
            .trim()
            .trim_start_matches("* ")
            .trim_end_matches('*')
            .trim();
        assert_line_works(line, folder.path());
    }
}

/// The fenced code blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("closed").to_owned())
        .collect()
}

#[test]
fn the_recipes_lines_work() {
    let recipes = read("docs/RECIPES.md");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lines = blocks(&recipes, "sh");
    assert!(lines.len() >= 4, "{lines:?}");
    for line in lines {
        assert_line_works(&line, folder.path());
    }
}
