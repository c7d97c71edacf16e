//! The example programs in C, Python, JavaScript and Rust, run like a user does: each records two seconds with a
//! pause in between, and reports errors.

mod common;

use common::harness::media::{assert_lasts, assert_plays, probe, run};
use common::harness::plugin;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// `program` with its arguments, in an environment with the plugin; `timeout` kills one that hangs, with code 124.
fn ended(program: &[&Path], arguments: &[&str]) -> Output {
    let mut command = plugin::command("timeout");
    command.arg("60").args(program).args(arguments);
    command
        .output()
        .unwrap_or_else(|e| panic!("{command:?} does not run: {e}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Records, and refuses a type that does not exist.
#[track_caller]
fn assert_example(program: &[&Path], file: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(file).display().to_string();
    let output = ended(program, &[&path]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    let reported: Vec<&str> = out.lines().collect();
    let [recording, "Paused", "Going on", saved] = reported.as_slice() else {
        panic!("{out}{err}");
    };
    assert!(
        recording.starts_with("Recording video/webm;codecs="),
        "{out}"
    );
    assert!(saved.starts_with("Saved "), "{out}");
    let size = std::fs::metadata(&path).expect("a recording").len();
    assert!(
        saved.contains(&size.to_string()),
        "{size} bytes, but {saved}"
    );
    assert_plays(&path);
    let media = probe(&path);
    assert_eq!(media.codecs("video"), ["vp8"]);
    assert_eq!(media.codecs("audio"), ["opus"]);
    // Two seconds, plus the delay of a busy machine; three with the pause in it.
    if media.duration.is_some() {
        assert_lasts(&path, 2.4, 0.5);
    }

    let refused = ended(program, &[&path, "video/pineapple"]);
    let err = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{err}");
    assert!(err.contains("Not possible here"), "{err}");
    assert!(err.contains("video/pineapple"), "{err}");
}

/// The installed header is all that a C program needs besides GStreamer.
fn compile(source: &Path, to: &Path) {
    let flags = "-std=c99 -Wall -Wextra -Wpedantic -Werror";
    let line = format!(
        "cc {flags} -I'{}' '{}' -o '{}' $(pkg-config --cflags --libs gstreamer-1.0 | sed 's/-I/-isystem /g')",
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("include")
            .display(),
        source.display(),
        to.display()
    );
    run(Command::new("sh").args(["-c", &line]));
}

#[test]
fn c() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("record");
    compile(&examples().join("c/record.c"), &program);
    assert_example(&[&program], "c.webm");
}

#[test]
fn c_in_parts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("parts");
    compile(&examples().join("c/parts.c"), &program);
    let pattern = folder.path().join("part-%02d.webm").display().to_string();
    let output = ended(&[&program], &[&pattern]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    assert_eq!(out.lines().count(), 3, "{out}{err}");
    for (number, line) in out.lines().enumerate() {
        let path = pattern.replace("%02d", &format!("{number:02}"));
        assert!(line.starts_with(&format!("{path}: ")), "{out}");
        assert_plays(&path);
        assert_lasts(&path, 1.0, 0.5);
    }
}

/// The enum values of the header are those that the plugin registers.
#[test]
fn the_header_has_the_plugins_enum_values() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("numbers.c");
    let program = folder.path().join("numbers");
    std::fs::write(
        &source,
        r#"
#include <gst/mediarecorder.h>
static void show (GType type) {
  GEnumClass *values = g_type_class_ref (type);
  for (guint i = 0; i < values->n_values; i++)
    g_print ("%s %d\n", values->values[i].value_nick, values->values[i].value);
  g_type_class_unref (values);
}
int main (void) {
  GError *error = NULL;
  gst_init (NULL, NULL);
  GstElement *recorder = gst_element_factory_make ("mediarecorder", NULL);
  show (g_type_from_name ("GstMediaRecorderState"));
  show (g_type_from_name ("GstMediaRecorderBitrateMode"));
  g_print ("inactive %d\nrecording %d\npaused %d\n", GST_MEDIA_RECORDER_STATE_INACTIVE,
      GST_MEDIA_RECORDER_STATE_RECORDING, GST_MEDIA_RECORDER_STATE_PAUSED);
  g_print ("constant %d\nvariable %d\n", GST_MEDIA_RECORDER_BITRATE_MODE_CONSTANT,
      GST_MEDIA_RECORDER_BITRATE_MODE_VARIABLE);
  if (gst_media_recorder_request_data (recorder, &error) || !g_error_matches (error,
          GST_MEDIA_RECORDER_ERROR, GST_MEDIA_RECORDER_ERROR_INVALID_STATE))
    return 1;
  g_clear_error (&error);
  if (gst_media_recorder_start (recorder, &error) || !g_error_matches (error,
          GST_MEDIA_RECORDER_ERROR, GST_MEDIA_RECORDER_ERROR_NOT_SUPPORTED))
    return 2;
  g_clear_error (&error);
  /* Who does not ask why is not told. */
  if (gst_media_recorder_stop (recorder, NULL))
    return 3;
  if (!gst_media_recorder_is_type_supported (recorder, "video/webm")
      || gst_media_recorder_is_type_supported (recorder, "video/pineapple"))
    return 4;
  gst_object_unref (recorder);
  return 0;
}
"#,
    )
    .expect("written");
    compile(&source, &program);
    let output = ended(&[&program], &[]);
    assert!(output.status.success(), "{:?}", output);
    let out = text(&output.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 10, "{out}");
    assert_eq!(lines[..5], lines[5..], "{out}");
}

#[test]
fn python() {
    let script = examples().join("python/record.py");
    // The system's own: another one earlier in the path may lack gi.
    assert_example(
        &[Path::new("/usr/bin/python3"), Path::new("-B"), &script],
        "python.webm",
    );
}

#[test]
fn javascript() {
    let script = examples().join("js/record.js");
    assert_example(&[Path::new("gjs"), Path::new("-m"), &script], "js.webm");
}

/// Like a browser's MediaRecorder: methods that throw, a promise of the end, blobs to iterate over.
#[test]
fn the_javascript_module() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/js/mediarecorder.js");
    let output = ended(&[Path::new("gjs"), Path::new("-m"), &script], &[]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    assert_eq!(out, "ok\n", "{err}");
    assert_eq!(err, "");
}

#[test]
fn rust() {
    // `cargo test` builds the examples too.
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let program = profile.join("examples/pause");
    assert!(
        program.is_file(),
        "{} is not built: cargo build --example pause",
        program.display()
    );
    assert_example(&[&program], "rust.webm");
}
