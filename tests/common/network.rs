//! RTP over a local network that loses, delays and reorders packets, and has outages.

use super::app::App;
use super::settings::Rng;
use gst::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The faults of a network.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Lost packets per thousand.
    pub loss: u64,
    /// Maximum delay of a packet in milliseconds, random for each packet, so that they are reordered.
    pub jitter: u64,
    /// Outages, in milliseconds since the beginning.
    pub away: Vec<Range<u64>>,
}

/// Receives packets at one local port and forwards those that it does not lose to another.
pub struct Network {
    down: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// From a new port, which is returned, to `to`.
    pub fn new(to: u16, begun: Instant, faults: Faults) -> (Self, u16) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let to = SocketAddr::from(([127, 0, 0, 1], to));
        socket
            .set_read_timeout(Some(Duration::from_millis(2)))
            .unwrap();
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let down = Arc::<AtomicBool>::default();
        let is_down = down.clone();
        let mut chance = Rng::from_env();
        let thread = std::thread::spawn(move || {
            let mut due = BinaryHeap::<Reverse<(Instant, Vec<u8>)>>::new();
            let mut packet = [0; 2048];
            while !stopped.load(Ordering::SeqCst) {
                let now = Instant::now();
                while due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
                    if let Some(Reverse((_, packet))) = due.pop() {
                        let _: std::io::Result<usize> = socket.send_to(&packet, to);
                    }
                }
                let Ok(length) = socket.recv(&mut packet) else {
                    continue;
                };
                let now = begun.elapsed().as_millis() as u64;
                let is_away = faults.away.iter().any(|away| away.contains(&now));
                let is_away = is_away || is_down.load(Ordering::SeqCst);
                if !is_away && chance.below(1_000) >= faults.loss {
                    let delay = Duration::from_millis(chance.below(faults.jitter));
                    due.push(Reverse((Instant::now() + delay, packet[..length].to_vec())));
                }
            }
        });
        let thread = Some(thread);
        (Network { down, stop, thread }, port)
    }

    /// Starts or ends an outage.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A port that is currently unused.
pub fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Receives RTP with these `caps` at a port. When a sender restarts, rtpbin creates another pad, which replaces
/// the first one.
pub fn receive(app: &App, port: u16, caps: &str, depay: &str) -> gst::Pad {
    let source = app.source(&format!(
        "rtpbin name=rtp{port} latency=400 udpsrc name=in{port} port={port} ! \
         rtp{port}.recv_rtp_sink_0 funnel name=all{port} ! {depay}"
    ));
    let element = |name: &str| app.pipeline.by_name(&format!("{name}{port}")).unwrap();
    let caps: gst::Caps = caps.parse().unwrap();
    element("in").set_property("caps", caps);
    let session: glib::Object = element("rtp").emit_by_name("get-internal-session", &[&0u32]);
    // Accepts a sender at its first packet: on such a network two rarely arrive in order.
    session.set_property("probation", 0u32);
    let all = element("all").downgrade();
    element("rtp").connect_pad_added(move |_, pad| {
        if let (Some(all), gst::PadDirection::Src) = (all.upgrade(), pad.direction()) {
            let sink = all.request_pad_simple("sink_%u").unwrap();
            pad.link(&sink).unwrap();
        }
    });
    source
}
