//! Anything that may come, against a plain list of it.

use super::*;
use crate::prelude::spill::SpillFile;
use proptest::prelude::*;

const MS: Ns = 1_000_000;

/// What a buffer is known by.
fn media(number: u64, size: usize) -> Input {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(size.max(8), number as u8);
    Input {
        buffer: gst::Buffer::from_mut_slice(bytes),
        running: number * 10 * MS,
        duration: Some(10 * MS),
    }
}

fn number(input: &Input) -> u64 {
    let map = input.buffer.map_readable().unwrap();
    assert!(map[8..].iter().all(|byte| *byte == map[0]));
    u64::from_le_bytes(map[..8].try_into().unwrap())
}

/// All that a cursor still finds: numbers of media, and caps by their number.
fn rest(cursor: &mut Cursor, ring: &Ring) -> Vec<Result<u64, i32>> {
    let mut found = Vec::new();
    loop {
        match cursor.next(ring) {
            Found::Item(Item::Media(input)) => found.push(Ok(number(&input))),
            Found::Item(Item::Caps(caps)) => {
                found.push(Err(caps.structure(0).unwrap().get("number").unwrap()));
            }
            Found::Item(item) => panic!("{item:?}"),
            Found::File(extent) => cursor.load(extent.read().unwrap()),
            Found::Nothing => return found,
        }
    }
}

fn caps(number: i32) -> gst::Caps {
    gst::Caps::builder("video/x-vp8")
        .field("number", number)
        .build()
}

#[derive(Debug, Clone)]
enum Step {
    Media { size: usize, begins: bool },
    Caps,
    Forget { back: u64 },
    Spill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (8usize..40_000, prop::bool::weighted(0.1)).prop_map(|(size, begins)| Step::Media { size, begins }),
        1 => Just(Step::Caps),
        1 => (0u64..60).prop_map(|back| Step::Forget { back }),
        2 => Just(Step::Spill),
    ];
    prop::collection::vec(step, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_cursor_finds_everything_from_its_position_on(steps in steps(), from in 0u64..250) {
        gst::init().unwrap();
        let file = SpillFile::create(None).unwrap();
        let mut ring = Ring::default();
        let (mut came, mut points) = (Vec::new(), Vec::new());
        let (mut count, mut caps_count, mut forgotten) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Media { size, begins } => {
                    ring.push(Item::Media(media(count, size)), Some(begins));
                    came.push(Ok(count));
                    if begins {
                        points.push(count);
                    }
                    count += 1;
                }
                Step::Caps => {
                    caps_count += 1;
                    ring.push(Item::Caps(caps(caps_count)), None);
                    came.push(Err(caps_count));
                }
                Step::Forget { back } => {
                    let to = count.saturating_sub(back);
                    ring.forget(to * 10 * MS, None);
                    if let Some(kept) = points.iter().rev().find(|point| **point <= to) {
                        forgotten = forgotten.max(*kept);
                    }
                }
                Step::Spill => {
                    if let Some((number, bytes)) = ring.oldest_in_memory() {
                        ring.moved(number, file.write(&bytes).unwrap());
                    }
                }
            }
        }
        points.retain(|point| *point >= forgotten);
        let point = points.iter().rev().find(|point| **point <= from).or(points.first());
        prop_assert_eq!(ring.point(from * 10 * MS), point.map(|point| point * 10 * MS));
        let mut cursor = ring.cursor(from * 10 * MS);
        let found = rest(&mut cursor, &ring);
        let at = point.map_or(came.len(), |point| came.iter().position(|item| *item == Ok(*point)).unwrap());
        // Its caps, as they are there, come first.
        let before = came[..at].iter().rev().find(|item| item.is_err());
        let due: Vec<_> = before.into_iter().chain(&came[at..]).copied().collect();
        prop_assert_eq!(found, due);
        // What comes later is found, too.
        ring.push(Item::Media(media(count, 9)), Some(false));
        prop_assert_eq!(rest(&mut cursor, &ring), [Ok(count)]);
    }
}

#[test]
fn media_with_a_reader_is_not_removed() {
    gst::init().unwrap();
    let mut ring = Ring::default();
    (0..100).for_each(|n| ring.push(Item::Media(media(n, 20_000)), Some(n % 10 == 0)));
    let mut cursor = ring.cursor(20 * 10 * MS);
    (100..200).for_each(|n| {
        ring.push(Item::Media(media(n, 20_000)), Some(n % 10 == 0));
        ring.forget(n * 10 * MS, Some(cursor.position()));
    });
    assert_eq!(ring.begin(), Some(20 * 10 * MS));
    let found = rest(&mut cursor, &ring);
    assert_eq!(found, (20..200).map(Ok).collect::<Vec<_>>());
    ring.forget(Ns::MAX, Some(cursor.position()));
    assert_eq!(ring.begin(), Some(190 * 10 * MS));
    assert!(ring.bytes() < 60 * 20_100, "{}", ring.bytes());
}

#[test]
fn audio_offers_an_entry_point_every_quarter_second() {
    gst::init().unwrap();
    let mut ring = Ring::default();
    (0..1000).for_each(|n| ring.push(Item::Media(media(n, 8)), None));
    for wanted in [0, 1, 250, 2_345, 9_999] {
        let point = ring.point(wanted * MS).unwrap();
        assert!(
            point <= wanted * MS && point + 260 * MS > wanted * MS,
            "{wanted}: {point}"
        );
    }
    let clear = ring.place();
    ring.clear();
    assert_eq!((ring.begin(), ring.bytes()), (None, 0));
    assert!(ring.place() >= clear);
}

/// A recording that has begun before anything came is told of the caps as any other.
#[test]
fn a_reader_of_an_empty_ring_gets_later_caps() {
    gst::init().unwrap();
    let mut ring = Ring::default();
    let mut cursor = ring.cursor(0);
    assert!(matches!(cursor.next(&ring), Found::Nothing));
    ring.push(Item::Caps(caps(1)), None);
    ring.push(Item::Media(media(0, 8)), Some(true));
    assert_eq!(rest(&mut cursor, &ring), [Err(1), Ok(0)]);
    assert_eq!(rest(&mut ring.cursor(0), &ring), [Err(1), Ok(0)]);
    // And what has been cleared away begins anew, with what it is then.
    ring.clear();
    ring.push(Item::Caps(caps(2)), None);
    ring.push(Item::Media(media(1, 8)), Some(true));
    assert!(matches!(cursor.next(&ring), Found::Item(Item::Lost)));
    assert_eq!(rest(&mut cursor, &ring), [Err(2), Ok(1)]);
}

#[test]
fn gaps_without_media_take_up_no_memory() {
    gst::init().unwrap();
    let mut ring = Ring::default();
    let gap = |n: u64| Item::Gap(n * 10 * MS);
    assert!(!ring.extend_gap(&gap(0)));
    ring.push(Item::Media(media(0, 8)), Some(true));
    ring.push(gap(1), None);
    for n in 2..1000 {
        assert!(ring.extend_gap(&gap(n)));
    }
    assert!(!ring.extend_gap(&Item::Lost));
    ring.push(Item::Media(media(1000, 8)), Some(false));
    assert!(!ring.extend_gap(&gap(1001)));
    let mut cursor = ring.cursor(0);
    let mut next = || match cursor.next(&ring) {
        Found::Item(item) => item,
        _ => panic!("nothing"),
    };
    assert!(matches!(next(), Item::Media(input) if number(&input) == 0));
    assert!(matches!(next(), Item::Gap(until) if until == 999 * 10 * MS));
    assert!(matches!(next(), Item::Media(input) if number(&input) == 1000));
}
