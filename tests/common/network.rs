//! RTP over a network of this machine's that loses, delays and reorders packets, and is away now and then.

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

/// What is wrong with a network.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Of a thousand packets so many are lost.
    pub loss: u64,
    /// Packets are delayed by up to so many milliseconds, each by itself, so that they come in another order.
    pub jitter: u64,
    /// When it is away, in milliseconds since it begun.
    pub away: Vec<Range<u64>>,
}

/// Takes packets at one port of this machine and gives those that it does not lose to another.
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

    /// Whether it is away from now on.
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

/// A port that nobody uses just now.
pub fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// What comes at a port: of a sender that begins anew rtpbin makes another pad, which takes the place of the first.
/// `caps` are those of the packets.
pub fn receive(app: &App, port: u16, caps: &str, depay: &str) -> gst::Pad {
    let source = app.source(&format!(
        "rtpbin name=rtp{port} latency=400 udpsrc name=in{port} port={port} ! \
         rtp{port}.recv_rtp_sink_0 funnel name=all{port} ! {depay}"
    ));
    let element = |name: &str| app.pipeline.by_name(&format!("{name}{port}")).unwrap();
    let caps: gst::Caps = caps.parse().unwrap();
    element("in").set_property("caps", caps);
    let session: glib::Object = element("rtp").emit_by_name("get-internal-session", &[&0u32]);
    // A sender is believed at its first packet: in such a network two seldom come in order.
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
