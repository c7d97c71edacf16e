//! The cost at `stop` of converting a fragmented MP4 to an ordinary one: for an hour, from the collected
//! fragments to the last write.
//!
//! `cargo bench --bench mp4_end`: synthetic fragments of one second, each with 30 frames and 47 packets of
//! various sizes.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gstmediarecorder::{
    formats::{Ending, Patch},
    model::Container,
    output::Store,
};

/// Of the file, without its media data.
const LENGTH: u64 = 1 << 32;

fn boxed(name: &[u8; 4], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let size = (content.len() as u32 + 8).to_be_bytes();
    [&size, &name[..], &content].concat()
}

fn fields(name: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
    boxed(name, &[&content])
}

fn trak(number: u32, handler: &[u8; 4], timescale: u32) -> Vec<u8> {
    let stbl = boxed(b"stbl", &[&fields(b"stsd", &[0, 0])]);
    let mdia = [
        fields(b"mdhd", &[0, 0, 0, timescale, 0, 0]),
        boxed(b"hdlr", &[&[0; 8], handler, &[0; 13]]),
        boxed(b"minf", &[&stbl]),
    ];
    let tkhd = [&[7, 0, 0, number][..], &[0; 17]].concat();
    let mdia = boxed(b"mdia", &[&mdia.concat()]);
    boxed(b"trak", &[&fields(b"tkhd", &tkhd), &mdia])
}

/// The header of a fragment whose samples have `duration` each and these sizes.
fn moof(track: u32, time: u64, duration: u32, sizes: &[u32]) -> Vec<u8> {
    let mut trun = vec![0x701, sizes.len() as u32, 0];
    for size in sizes {
        trun.extend([duration, *size, 0]);
    }
    let tfdt = [1 << 24, (time >> 32) as u32, time as u32];
    let traf = [
        fields(b"tfhd", &[0, track]),
        fields(b"tfdt", &tfdt),
        fields(b"trun", &trun),
    ];
    boxed(b"moof", &[&boxed(b"traf", &[&traf.concat()])])
}

fn mdat(sizes: &[u32]) -> Vec<u8> {
    let length: u32 = sizes.iter().sum();
    boxed(b"mdat", &[&vec![0; length as usize]])
}

/// An hour's ending, and its offset.
fn hour() -> (Ending, u64) {
    let mut patch = Patch::new(Container::Mp4, Vec::new(), Vec::new());
    let mut length = 0;
    let mut write = |position: &mut u64, bytes: Vec<u8>| {
        *position += bytes.len() as u64;
        let buffers = patch.bytes(gst::Buffer::from_slice(bytes), &|_| 0);
        let buffers = buffers.into_iter().flatten();
        length += buffers
            .map(|written| written.buffer.size() as u64)
            .sum::<u64>();
    };
    let mut position = 0;
    let mvhd = [&[0, 0, 0, 3_000][..], &[0; 21]].concat();
    let header = [
        fields(b"mvhd", &mvhd),
        trak(1, b"vide", 30_000),
        trak(2, b"soun", 48_000),
    ];
    write(&mut position, fields(b"ftyp", &[0; 4]));
    write(&mut position, boxed(b"moov", &[&header.concat()]));
    let mut chance = 1u32;
    let mut size = |least: u32, most: u32| {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        least + (chance >> 8) % (most - least)
    };
    for second in 0..3_600u64 {
        // Small ones: the tables at the end have the same length, whatever the sizes.
        let frames: Vec<u32> = (0..30).map(|_| size(20, 90)).collect();
        write(&mut position, moof(1, second * 30_000, 1_000, &frames));
        write(&mut position, mdat(&frames));
        let packets: Vec<u32> = (0..47).map(|_| size(2, 4)).collect();
        write(&mut position, moof(2, second * 48_128, 1_024, &packets));
        write(&mut position, mdat(&packets));
    }
    (patch.take_ending(Vec::new(), 0), length)
}

fn end(criterion: &mut Criterion) {
    gst::init().expect("GStreamer");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hour.mp4");
    let mut group = criterion.benchmark_group("mp4_end");
    group.sample_size(20);
    group.bench_function("an hour becomes an ordinary file", |bencher| {
        bencher.iter_batched(
            || {
                let (ending, length) = hour();
                let mut store = Store::in_file(&path, 0, None).expect("a file");
                let bytes = gst::Buffer::from_slice(vec![0; length as usize]);
                store.write(0, bytes).expect("room");
                (ending, store)
            },
            |(mut ending, mut store)| {
                let ordinary = ending.complete(LENGTH).expect("a moov");
                store.append_whole(ordinary.appended, false).expect("room");
                for (at, bytes) in ordinary.patches {
                    store.write(at, bytes).expect("room");
                }
                store
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, end);
criterion_main!(benches);
