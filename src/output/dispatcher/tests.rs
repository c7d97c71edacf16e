//! Events are emitted in order, regardless of open lanes and reserved or released positions.

use super::*;
use proptest::prelude::*;
use std::sync::mpsc;

fn collector() -> (Dispatcher<u32>, mpsc::Receiver<u32>) {
    let (sender, receiver) = mpsc::channel();
    let sender = Mutex::new(sender);
    let dispatcher = Dispatcher::new(move |event| {
        sender.lock().unwrap().send(event).unwrap();
    });
    (dispatcher, receiver)
}

const SOON: Duration = Duration::from_secs(5);

#[test]
fn events_of_recordings_do_not_interleave() {
    let (dispatcher, receiver) = collector();
    let first = dispatcher.open();
    let second = dispatcher.open();
    second.push(3);
    second.close();
    first.push(1);
    first.push(2);
    first.close();
    for expected in 1..=3 {
        assert_eq!(receiver.recv_timeout(SOON), Ok(expected));
    }
    assert!(dispatcher.wait_until_idle(SOON));
}

#[test]
fn a_reserved_position_holds_back_later_events() {
    let (dispatcher, receiver) = collector();
    let events = dispatcher.open();
    let slot = events.reserve();
    events.push(2);
    assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err());
    assert!(!dispatcher.wait_until_idle(Duration::from_millis(1)));
    events.fill(slot, Some(1));
    assert_eq!(receiver.recv_timeout(SOON), Ok(1));
    assert_eq!(receiver.recv_timeout(SOON), Ok(2));
    let given_up = events.reserve();
    events.push(3);
    events.fill(given_up, None);
    assert_eq!(receiver.recv_timeout(SOON), Ok(3));
    events.close();
    assert!(dispatcher.wait_until_idle(SOON));
}

#[test]
fn the_thread_goes_when_idle_and_comes_back() {
    let (dispatcher, receiver) = collector();
    for round in 0..2 {
        let events = dispatcher.open();
        events.push(round);
        events.close();
        assert_eq!(receiver.recv_timeout(SOON), Ok(round));
        let deadline = Instant::now() + SOON;
        while dispatcher.shared.lock().thread.is_some() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }
}

/// Actions of an element's recordings; numbers select among the existing ones.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Push(usize),
    Reserve(usize),
    /// With an event, or releasing the position.
    Fill(usize, bool),
    Close(usize),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => Just(Step::Open),
        6 => (0..8usize).prop_map(Step::Push),
        4 => (0..8usize).prop_map(Step::Reserve),
        4 => (0..8usize, any::<bool>()).prop_map(|(slot, event)| Step::Fill(slot, event)),
        1 => (0..8usize).prop_map(Step::Close),
        1 => (0..8usize).prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A recording in the reference model: its positions, and whether it is open.
#[derive(Default)]
struct Naive {
    places: Vec<Option<u32>>,
    open: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Compares with lists: recordings in the order they were opened, their events in the order of their positions,
    /// each exactly once; an event added by a handler comes last.
    #[test]
    fn events_are_output_in_order_of_their_positions(steps in steps()) {
        let (dispatcher, receiver) = collector();
        let mut naive: Vec<Naive> = Vec::new();
        let mut lanes: Vec<Option<Events<u32>>> = Vec::new();
        let mut kept: Vec<(usize, usize, Slot)> = Vec::new();
        let mut number = 0;
        for step in steps {
            let pick = |lane: usize, lanes: &[Option<Events<u32>>]| {
                let live: Vec<usize> = (0..lanes.len()).filter(|n| lanes[*n].is_some()).collect();
                (!live.is_empty()).then(|| live[lane % live.len()])
            };
            match step {
                Step::Open => {
                    lanes.push(Some(dispatcher.open()));
                    naive.push(Naive { places: Vec::new(), open: true });
                }
                Step::Push(lane) => {
                    if let Some(lane) = pick(lane, &lanes).filter(|lane| naive[*lane].open) {
                        number += 1;
                        lanes[lane].as_ref().unwrap().push(number);
                        naive[lane].places.push(Some(number));
                    }
                }
                Step::Reserve(lane) => {
                    if let Some(lane) = pick(lane, &lanes).filter(|lane| naive[*lane].open) {
                        let slot = lanes[lane].as_ref().unwrap().reserve();
                        kept.push((lane, naive[lane].places.len(), slot));
                        naive[lane].places.push(None);
                    }
                }
                Step::Fill(slot, event) => {
                    if kept.is_empty() {
                        continue;
                    }
                    let (lane, place, slot) = kept.remove(slot % kept.len());
                    if let Some(events) = &lanes[lane] {
                        number += 1;
                        events.fill(slot, event.then_some(number));
                        naive[lane].places[place] = event.then_some(number);
                    }
                }
                Step::Close(lane) => {
                    if let Some(lane) = pick(lane, &lanes) {
                        lanes[lane].as_ref().unwrap().close();
                        naive[lane].open = false;
                    }
                }
                Step::Drop(lane) => {
                    if let Some(lane) = pick(lane, &lanes) {
                        lanes[lane] = None;
                    }
                }
            }
        }
        drop(lanes);
        prop_assert!(dispatcher.wait_until_idle(SOON));
        let due: Vec<u32> = naive.iter().flat_map(|lane| lane.places.iter().flatten().copied()).collect();
        let came: Vec<u32> = receiver.try_iter().collect();
        prop_assert_eq!(came, due);
    }
}

/// Recordings that end in separate threads, while a handler blocks, keep their order.
#[test]
fn many_threads_keep_each_recordings_order() {
    let (dispatcher, receiver) = collector();
    let lanes: Vec<Events<u32>> = (0..8).map(|_| dispatcher.open()).collect();
    thread::scope(|scope| {
        for (number, events) in (0u32..).zip(lanes) {
            scope.spawn(move || {
                for event in 0..500 {
                    let slot = events.reserve();
                    events.push(number * 1000 + 2 * event + 1);
                    events.fill(slot, Some(number * 1000 + 2 * event));
                }
                events.close();
            });
        }
    });
    assert!(dispatcher.wait_until_idle(SOON));
    let came: Vec<u32> = receiver.try_iter().collect();
    let due: Vec<u32> = (0..8)
        .flat_map(|n| (0..1000).map(move |e| n * 1000 + e))
        .collect();
    assert_eq!(came, due);
}
