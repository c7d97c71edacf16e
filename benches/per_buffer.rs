//! The cost of one buffer in the recorder's chain function, compared with elements that do nothing, and togglerecord.
//!
//! `cargo bench --bench per_buffer`: an iteration is a buffer, so criterion's times are those of one buffer.

#[path = "../examples/bench/push.rs"]
mod push;
#[path = "../examples/bench/togglerecord.rs"]
mod togglerecord;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use push::{Doing, OTHERS, Subject, TOGGLERECORD};
use std::time::Duration;

const DOING: &[(&str, Doing)] = &[
    ("recorder, inactive", Doing::Nothing),
    ("recorder, paused", Doing::Paused(1)),
    ("recorder, paused after 10000 cuts", Doing::Paused(10_000)),
    ("recorder, recording", Doing::Recording(0)),
    ("recorder, recording after 100 cuts", Doing::Recording(100)),
    (
        "recorder, recording after 10000 cuts",
        Doing::Recording(10_000),
    ),
];

fn chain(criterion: &mut Criterion) {
    gst::init().expect("GStreamer");
    gstmediarecorder::plugin_register_static().expect("the plugin");
    let mut group = criterion.benchmark_group("chain");
    group.throughput(Throughput::Elements(1));
    let mut others = OTHERS.to_vec();
    match togglerecord::load() {
        Ok(()) => others.push(TOGGLERECORD),
        Err(missing) => eprintln!("NOT MEASURED: {missing:#}"),
    }
    for (name, element) in others {
        let mut subject = Subject::other(element).expect(name);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| subject.push(count));
        });
    }
    for (name, doing) in DOING {
        let mut subject = Subject::recorder(*doing).expect(name);
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|count| subject.push(count));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = chain
}
criterion_main!(benches);
