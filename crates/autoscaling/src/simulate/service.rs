//! The model of a service: pods that start, serve and drain, one queue in front of them, and what each figure of it is.
//!
//! Requests are a fluid: a step moves as many as fit from the queue into service and out of it, so that what arrived is always
//! served, dropped, or still there. A pod serves up to `concurrency` requests at once, fewer if their CPU time would pass its CPU
//! limit; the pods share one queue, as under a balancer that prefers the least busy. A request that finds a free place is served
//! in the time that is drawn for it, and waits before with the probability and the mean of a queue with many servers (Sakasegawa's
//! approximation), for a fluid knows no accident. When every place is taken the queue grows, and a wait is what it really was.

use std::collections::VecDeque;

use super::latency::{Draws, Histogram};

/// Draws for the requests that a step takes straight into service.
const DRAWS: usize = 8;
/// Above this share of the places the queue itself says how long a wait is.
const NEARLY_FULL: f64 = 0.98;
/// Less than this is a rounding, no request.
const NOTHING: f64 = 1e-9;

/// What a pod can do, and what becomes of requests that no pod can take.
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    /// Requests that a pod serves at once.
    pub concurrency: f64,
    /// Mean seconds in service when nothing else slows it down.
    pub time: f64,
    /// The coefficient of variation of the time in service: 0 is always the same, 1 varies as much as its mean.
    pub variation: f64,
    /// CPU seconds for each request.
    pub cpu: f64,
    /// The pod's CPU request, in cores; a target of utilization is a share of it.
    pub cpu_request: Option<f64>,
    /// The pod's CPU limit, in cores.
    pub cpu_limit: f64,
    /// Cores that a pod uses without requests.
    pub idle_cpu: f64,
    /// Cores that a pod uses while it starts.
    pub start_cpu: f64,
    /// Bytes of memory of a pod without requests.
    pub memory: f64,
    /// Bytes of memory more for each request in service.
    pub request_memory: f64,
    /// The pod's memory request, in bytes.
    pub memory_request: Option<f64>,
    /// Seconds from a pod's creation until it is ready.
    pub start_up: f64,
    /// Seconds that a terminating pod may take to finish its requests.
    pub drain: f64,
    /// Requests that may wait for each pod there is; further ones are dropped.
    pub queue: f64,
    /// Requests that may wait while there is no pod at all; further ones are dropped.
    pub hold: f64,
    /// Seconds that a request may wait; then it is dropped.
    pub patience: f64,
}

impl Default for Capacity {
    /// A small HTTP service: 10 ms of CPU in 50 ms, a request of half a core and a limit of one.
    fn default() -> Self {
        Self {
            concurrency: 64.0,
            time: 0.05,
            variation: 0.5,
            cpu: 0.01,
            cpu_request: Some(0.5),
            cpu_limit: 1.0,
            idle_cpu: 0.005,
            start_cpu: 0.5,
            memory: 64e6,
            request_memory: 100e3,
            memory_request: Some(128e6),
            start_up: 10.0,
            drain: 30.0,
            queue: 1024.0,
            hold: 1024.0,
            patience: 30.0,
        }
    }
}

impl Capacity {
    /// Requests that a pod really serves at once: its places, or as many as its CPU limit allows.
    pub fn servers(&self) -> f64 {
        if self.cpu > 0.0 { self.concurrency.min(self.cpu_limit * self.time / self.cpu) } else { self.concurrency }
    }

    /// Requests per second that a pod serves when every place is taken.
    pub fn rate(&self) -> f64 {
        self.servers() / self.time
    }
}

/// A pod that is not terminating.
#[derive(Clone, Debug)]
pub struct SimulatedPod {
    /// Counts the pods that there ever were.
    pub serial: u64,
    /// Seconds since the start of the simulation; those at its start are older than it.
    pub created: f64,
    /// When it becomes, or became, ready.
    pub ready_at: f64,
    /// Whether it is ready.
    pub ready: bool,
    /// The CPU that a pod which is always ready had used when this one became ready.
    cpu_before: f64,
}

/// Requests that wait since the same time.
#[derive(Clone, Copy, Debug)]
struct Cohort {
    since: f64,
    count: f64,
}

/// The requests in service on pods that terminate.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    pods: f64,
    until: f64,
    busy: f64,
}

/// What became of requests since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Counts {
    /// Those that came.
    pub arrived: f64,
    /// Those that were answered.
    pub served: f64,
    /// Of those that began to be served: those that took longer than the objective.
    pub late: f64,
    /// Those that came while there was no ready pod and were not dropped at once.
    pub held: f64,
    /// Dropped because too many were waiting.
    pub dropped_full: f64,
    /// Dropped because they had waited too long.
    pub dropped_waiting: f64,
    /// Dropped because their pod's time to drain ended.
    pub dropped_draining: f64,
}

impl Counts {
    /// All that were not answered and never will be.
    pub fn dropped(&self) -> f64 {
        self.dropped_full + self.dropped_waiting + self.dropped_draining
    }
}

/// Sums over time, for means between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    /// CPU seconds that a pod which was always ready has used for requests.
    pub cpu_per_pod: f64,
    /// Request seconds: the integral of those in flight.
    pub in_flight: f64,
    /// Pod seconds, whatever the pods did.
    pub pods: f64,
    /// Seconds times the share of the places that were taken.
    pub utilisation: f64,
}

/// A service in simulated time.
#[derive(Debug)]
pub struct Service {
    /// What a pod can do.
    pub capacity: Capacity,
    /// Pods that are not terminating, oldest first.
    pub pods: Vec<SimulatedPod>,
    /// What became of requests.
    pub counts: Counts,
    /// Sums over time.
    pub sums: Sums,
    /// Latencies since somebody cleared them.
    pub recent: Histogram,
    objective: f64,
    now: f64,
    ready: f64,
    busy: f64,
    queue: VecDeque<Cohort>,
    queued: f64,
    leaving: Vec<Leaving>,
    draws: Draws,
    next_serial: u64,
    /// The step whose decay was computed last, and that decay.
    decay: (f64, f64),
}

impl Service {
    /// A service with pods that have been ready for long. Requests that take longer than `objective` seconds are late.
    pub fn new(capacity: Capacity, pods: u32, objective: f64) -> Self {
        let draws = Draws::new(capacity.variation);
        let mut service = Self {
            capacity,
            pods: Vec::new(),
            counts: Counts::default(),
            sums: Sums::default(),
            recent: Histogram::default(),
            objective,
            now: 0.0,
            ready: f64::from(pods),
            busy: 0.0,
            queue: VecDeque::new(),
            queued: 0.0,
            leaving: Vec::new(),
            draws,
            next_serial: 0,
            decay: (0.0, 1.0),
        };
        for _ in 0..pods {
            service.create(-86_400.0);
        }
        service.pods.iter_mut().for_each(|pod| pod.ready = true);
        service
    }

    /// Seconds since the start.
    pub fn now(&self) -> f64 {
        self.now
    }

    /// Pods that are ready.
    pub fn ready(&self) -> f64 {
        self.ready
    }

    /// Requests that wait.
    pub fn waiting(&self) -> f64 {
        self.queued
    }

    /// Requests that wait or are being served, on terminating pods too.
    pub fn in_flight(&self) -> f64 {
        self.queued + self.busy + self.leaving.iter().map(|leaving| leaving.busy).sum::<f64>()
    }

    /// Requests that a pod is busy with, on average.
    pub fn busy_per_pod(&self) -> f64 {
        if self.ready > 0.0 { self.busy / self.ready } else { 0.0 }
    }

    /// The CPU seconds that a pod has used, at a moment at or after its creation when a pod that was always ready had used `total`.
    pub fn cpu_used(&self, pod: &SimulatedPod, moment: f64, total: f64) -> f64 {
        let starting = (moment.min(pod.ready_at) - pod.created).max(0.0);
        let serving = (moment - pod.ready_at).max(0.0);
        let requests = if serving > 0.0 && pod.ready { (total - pod.cpu_before).max(0.0) } else { 0.0 };
        starting * self.capacity.start_cpu + serving * self.capacity.idle_cpu + requests
    }

    /// Whether a long step is as good as many short ones: nobody waits, no pod is about to change, and there is room to spare.
    pub fn is_calm(&self, rate: f64) -> bool {
        let room = self.ready * self.capacity.rate();
        self.queued <= NOTHING && self.leaving.is_empty() && self.pods.len() as f64 == self.ready && rate < 0.8 * room
    }

    /// Makes it as many pods as asked for: starts some, or terminates those that are not ready yet, then the youngest.
    pub fn scale(&mut self, pods: u32) {
        let wanted = pods as usize;
        while self.pods.len() < wanted {
            self.create(self.now);
        }
        let mut left = 0.0;
        while self.pods.len() > wanted {
            let index = self.pods.iter().rposition(|pod| !pod.ready).unwrap_or(self.pods.len() - 1);
            left += f64::from(u8::from(self.pods.remove(index).ready));
        }
        if left > 0.0 {
            let busy = self.busy * left / self.ready;
            self.busy -= busy;
            self.ready -= left;
            self.leaving.push(Leaving { pods: left, until: self.now + self.capacity.drain, busy });
        }
    }

    fn create(&mut self, created: f64) {
        let ready_at = created + self.capacity.start_up;
        let serial = self.next_serial;
        self.next_serial += 1;
        self.pods.push(SimulatedPod { serial, created, ready_at, ready: false, cpu_before: 0.0 });
    }

    /// Lets `step` seconds pass in which so many requests arrive.
    pub fn step(&mut self, step: f64, arrivals: f64) {
        self.become_ready();
        self.expire();
        let time = self.capacity.time;
        if self.decay.0 != step {
            self.decay = (step, (-step / time).exp());
        }
        let decay = self.decay.1;
        // A request that arrives within the step is, at its end, in service still with the share that `stay` says.
        let stay = (1.0 - decay) * time / step;
        let places = self.ready * self.capacity.servers();
        let fit = if places > 0.0 { ((places - self.busy * decay) / stay).max(0.0) } else { 0.0 };
        let taken = fit.min(self.queued + arrivals);
        let from_queue = self.take_from_queue(taken.min(self.queued), step);
        let straight = (taken - from_queue).clamp(0.0, arrivals);
        let before = self.busy;
        self.busy = before * decay + (from_queue + straight) * stay;
        self.counts.arrived += arrivals;
        self.counts.served += before + from_queue + straight - self.busy;
        let share = if places > 0.0 { self.busy / places } else { f64::from(u8::from(self.queued > 0.0)) };
        self.serve_straight(straight, share, places);
        self.wait(arrivals - straight);
        self.drain(decay, step);
        let mean = (before + self.busy) / 2.0;
        self.sums.utilisation += share.min(1.0) * step;
        self.sums.in_flight += (mean + self.in_flight() - self.busy) * step;
        self.sums.pods +=
            (self.pods.len() as f64 + self.leaving.iter().map(|leaving| leaving.pods).sum::<f64>()) * step;
        if self.ready > 0.0 {
            self.sums.cpu_per_pod += (before + from_queue + straight - self.busy) * self.capacity.cpu / self.ready;
        }
        self.now += step;
    }

    fn become_ready(&mut self) {
        if self.pods.len() as f64 == self.ready {
            return;
        }
        let (now, cpu) = (self.now, self.sums.cpu_per_pod);
        for pod in self.pods.iter_mut().filter(|pod| !pod.ready && pod.ready_at <= now + NOTHING) {
            pod.ready = true;
            pod.cpu_before = cpu;
            self.ready += 1.0;
        }
    }

    fn expire(&mut self) {
        let oldest = self.now - self.capacity.patience;
        while let Some(cohort) = self.queue.front().copied().filter(|cohort| cohort.since < oldest) {
            self.queue.pop_front();
            self.queued -= cohort.count;
            self.counts.dropped_waiting += cohort.count;
        }
        if self.queue.is_empty() {
            self.queued = 0.0;
        }
    }

    /// Takes so many of those that wait longest; returns how many there were.
    fn take_from_queue(&mut self, mut wanted: f64, step: f64) -> f64 {
        let mut taken = 0.0;
        while wanted > NOTHING {
            let Some(cohort) = self.queue.front_mut() else { break };
            let count = cohort.count.min(wanted);
            // They came during a step, and are served during one.
            let wait = (self.now - cohort.since + step / 2.0).max(0.0);
            cohort.count -= count;
            if cohort.count <= NOTHING {
                self.queued -= cohort.count;
                taken += cohort.count;
                self.queue.pop_front();
            }
            self.queued = (self.queued - count).max(0.0);
            wanted -= count;
            taken += count;
            for _ in 0..DRAWS / 2 {
                let (service, _) = self.draws.draw();
                self.took(wait + service * self.capacity.time, count / (DRAWS / 2) as f64);
            }
        }
        taken
    }

    /// Those that found a place, or nearly.
    fn serve_straight(&mut self, count: f64, share: f64, places: f64) {
        if count <= 0.0 {
            return;
        }
        let share = share.min(NEARLY_FULL);
        let waits = share.powf((2.0 * (places + 1.0)).sqrt() - 1.0).min(1.0);
        let variation = (1.0 + self.capacity.variation.powi(2)) / 2.0;
        let mean_wait = variation * self.capacity.time / (places.max(1.0) * (1.0 - share));
        for _ in 0..DRAWS {
            let (service, luck) = self.draws.draw();
            let wait = if luck < waits { -mean_wait * (luck / waits).max(1e-6).ln() } else { 0.0 };
            self.took(wait + service * self.capacity.time, count / DRAWS as f64);
        }
    }

    fn took(&mut self, seconds: f64, count: f64) {
        self.recent.add(seconds, count);
        if seconds > self.objective {
            self.counts.late += count;
        }
    }

    fn wait(&mut self, count: f64) {
        if count <= NOTHING {
            self.counts.dropped_full += count.max(0.0);
            return;
        }
        let bound =
            if self.pods.is_empty() { self.capacity.hold } else { self.capacity.queue * self.pods.len() as f64 };
        let room = (bound - self.queued).max(0.0);
        let waits = count.min(room);
        self.counts.dropped_full += count - waits;
        if waits > 0.0 {
            if self.ready <= 0.0 {
                self.counts.held += waits;
            }
            self.queue.push_back(Cohort { since: self.now, count: waits });
            self.queued += waits;
        }
    }

    fn drain(&mut self, decay: f64, step: f64) {
        let now = self.now + step;
        for leaving in &mut self.leaving {
            self.counts.served += leaving.busy * (1.0 - decay);
            leaving.busy *= decay;
            if leaving.busy < 0.01 {
                self.counts.served += leaving.busy;
                leaving.busy = 0.0;
            } else if leaving.until <= now {
                self.counts.dropped_draining += leaving.busy;
                leaving.busy = 0.0;
            }
        }
        self.leaving.retain(|leaving| leaving.busy > 0.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there(service: &Service) -> f64 {
        service.counts.served + service.counts.dropped() + service.in_flight()
    }

    #[test]
    fn a_service_with_room_serves_what_arrives_in_its_time() {
        let mut service = Service::new(Capacity { variation: 0.0, ..Capacity::default() }, 2, 0.1);
        for _ in 0..600 {
            service.step(1.0, 80.0);
        }
        assert!((service.counts.served - 48_000.0).abs() < 10.0);
        assert_eq!(service.waiting(), 0.0);
        assert!((service.in_flight() - 4.0).abs() < 0.01, "Little's law: 80/s for 50 ms");
        assert!((service.sums.cpu_per_pod / 600.0 - 0.4).abs() < 0.01);
        assert!((service.recent.quantile(0.5).unwrap() / 0.05 - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_service_without_pods_holds_requests_up_to_its_bounds() {
        let capacity = Capacity { hold: 100.0, patience: 5.0, ..Capacity::default() };
        let mut service = Service::new(capacity, 0, 0.1);
        for _ in 0..12 {
            service.step(1.0, 20.0);
        }
        assert!(service.waiting() <= 100.0);
        assert!(service.counts.dropped_full > 0.0 && service.counts.dropped_waiting > 0.0);
        service.scale(1);
        for _ in 0..20 {
            service.step(1.0, 0.0);
        }
        assert_eq!(service.waiting(), 0.0);
    }

    #[test]
    fn pods_that_terminate_finish_what_they_began() {
        let mut service = Service::new(Capacity { time: 2.0, cpu: 0.0, ..Capacity::default() }, 4, 10.0);
        (0..20).for_each(|_| service.step(1.0, 40.0));
        service.scale(1);
        (0..40).for_each(|_| service.step(1.0, 0.0));
        assert_eq!(service.counts.dropped(), 0.0);
        assert!((service.counts.served - 800.0).abs() < 1.0);
        let mut hasty = Service::new(Capacity { time: 20.0, cpu: 0.0, drain: 5.0, ..Capacity::default() }, 4, 10.0);
        (0..20).for_each(|_| hasty.step(1.0, 4.0));
        hasty.scale(1);
        (0..40).for_each(|_| hasty.step(1.0, 0.0));
        assert!(hasty.counts.dropped_draining > 0.0);
    }

    proptest! {
        #[test]
        fn requests_are_conserved(
            steps in prop::collection::vec((0.1f64..5.0, 0u32..400, prop::option::of(0u32..12)), 1..200),
            concurrency in 1f64..50.0, time in 0.001f64..20.0, cpu in 0.0f64..0.2, patience in 1f64..60.0,
        ) {
            let capacity = Capacity { concurrency, time, cpu, patience, queue: 50.0, hold: 80.0, ..Capacity::default() };
            let mut service = Service::new(capacity, 2, 0.5);
            for (step, arrivals, scale) in steps {
                if let Some(pods) = scale {
                    service.scale(pods);
                }
                service.step(step, f64::from(arrivals));
                prop_assert!((there(&service) - service.counts.arrived).abs() < 1e-6 * service.counts.arrived.max(1.0), "{} of {}", there(&service), service.counts.arrived);
                prop_assert!(service.waiting() >= -1e-6 && service.in_flight() >= -1e-6, "{service:?}");
                prop_assert!(service.counts.late <= service.counts.arrived + 1e-6, "{:?}", service.counts);
            }
        }
    }
}
