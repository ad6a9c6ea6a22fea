//! When pods are evicted: the kubelet's settings, in its notation.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::SignedDuration;
use objects::quantity::Quantity;

/// The least that the machine must keep free, unless somebody says otherwise. The kubelet's default keeps a tenth of the disk: it has
/// the machine for itself, while here a disk may be that full of other things with plenty left. On a small disk a tenth is less.
pub const HARD: &str = "memory.available<100Mi,nodefs.available<1Gi|10%,nodefs.inodesFree<5%";

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Memory that could be given to somebody, in bytes: the machine's, without its working set.
    Memory,
    /// Space on the disk that has the pods' files, in bytes.
    Disk,
    /// Files that could still be made there.
    Inodes,
    /// Space on the disk that has what containers write outside of volumes: the same disk.
    ImageDisk,
    /// Files that could still be made there.
    ImageInodes,
    /// Processes and threads that could still be started.
    Processes,
}

impl Signal {
    const ALL: [Self; 6] =
        [Self::Memory, Self::Disk, Self::Inodes, Self::ImageDisk, Self::ImageInodes, Self::Processes];

    /// The kubelet's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory.available",
            Self::Disk => "nodefs.available",
            Self::Inodes => "nodefs.inodesFree",
            Self::ImageDisk => "imagefs.available",
            Self::ImageInodes => "imagefs.inodesFree",
            Self::Processes => "pid.available",
        }
    }

    /// The resource that is taken back from pods.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk | Self::ImageDisk => "ephemeral-storage",
            Self::Inodes | Self::ImageInodes => "inodes",
            Self::Processes => "pids",
        }
    }

    /// The condition of the node while there is too little.
    pub fn pressure(self) -> Pressure {
        match self {
            Self::Memory => Pressure::Memory,
            Self::Disk | Self::Inodes | Self::ImageDisk | Self::ImageInodes => Pressure::Disk,
            Self::Processes => Pressure::Processes,
        }
    }

    /// Whether it is in bytes; other amounts are numbers of things.
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::Memory | Self::Disk | Self::ImageDisk)
    }

    fn parse(name: &str) -> Result<Self, String> {
        if let Some(signal) = Self::ALL.into_iter().find(|signal| signal.name() == name) {
            return Ok(signal);
        }
        Err(match name {
            "containerfs.available" | "containerfs.inodesFree" => {
                format!("{name}: containers are on the disk of nodefs and imagefs: name one of those")
            }
            _ => format!("{name:?} is none of {}", Self::ALL.map(Self::name).join(", ")),
        })
    }
}

/// What the node lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Memory.
    Memory,
    /// Disk space, or files.
    Disk,
    /// Processes.
    Processes,
}

impl Pressure {
    /// The type of the node's condition.
    pub fn condition(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Processes => "PIDPressure",
        }
    }
}

/// An amount, or a share of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Bytes, or files.
    Count(u64),
    /// Between 0 and 1.
    Share(f64),
    /// The smaller of the two.
    Smaller(u64, f64),
}

impl Amount {
    /// How much that is of so much.
    pub fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Count(count) => count,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a size"
            )]
            Self::Share(share) => (capacity as f64 * share) as u64,
            Self::Smaller(count, share) => count.min(Self::Share(share).of(capacity)),
        }
    }

    /// As the kubelet writes it; and `1Gi|10%`, which it does not know, for the smaller of the two.
    fn parse(text: &str) -> Result<Self, String> {
        if let Some((count, share)) = text.split_once('|') {
            return match (Self::parse(count.trim())?, Self::parse(share.trim())?) {
                (Self::Count(count), Self::Share(share)) => Ok(Self::Smaller(count, share)),
                _ => Err(format!("{text:?} is no amount and share such as 1Gi|10%")),
            };
        }
        if let Some(percent) = text.strip_suffix('%') {
            let share = percent.parse::<f64>().map(|percent| percent / 100.0).ok().filter(|s| (0.0..=1.0).contains(s));
            return share.map(Self::Share).ok_or_else(|| format!("{text:?} is no share such as 10%"));
        }
        let quantity = text.parse::<Quantity>().ok().and_then(|quantity| u64::try_from(quantity.value()).ok());
        quantity.map(Self::Count).ok_or_else(|| format!("{text:?} is no amount such as 100Mi or 10%"))
    }

    /// As the kubelet, which takes 0 % and 100 % for "never".
    fn is_never(self) -> bool {
        matches!(self, Self::Share(share) | Self::Smaller(_, share) if share <= 0.0 || share >= 1.0)
    }
}

/// One limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// The least that is to be free.
    pub least: Amount,
    /// For how long there may be less (soft); `None`: at no time (hard).
    pub grace: Option<Duration>,
    /// How much more is to be free before it is good again.
    pub reclaim: Amount,
}

/// The settings as they are given; empty text is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// `--eviction-hard`.
    pub hard: String,
    /// `--eviction-soft`.
    pub soft: String,
    /// `--eviction-soft-grace-period`.
    pub soft_grace_period: String,
    /// `--eviction-minimum-reclaim`.
    pub minimum_reclaim: String,
    /// `--eviction-pressure-transition-period`.
    pub pressure_transition_period: Duration,
    /// `--eviction-max-pod-grace-period`, in seconds.
    pub max_pod_grace_period: u32,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            hard: HARD.to_owned(),
            soft: String::new(),
            soft_grace_period: String::new(),
            minimum_reclaim: String::new(),
            pressure_transition_period: Duration::from_secs(300),
            max_pod_grace_period: 0,
        }
    }
}

/// When pods are evicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The limits.
    pub thresholds: Vec<Threshold>,
    /// How long the node says that it lacks something after it does no more.
    pub transition: Duration,
    /// The most seconds that a pod gets to end in when a soft limit is passed.
    pub max_pod_grace: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self::read(&Given::default()).unwrap_or(Self {
            thresholds: Vec::new(),
            transition: Duration::from_secs(300),
            max_pod_grace: 0,
        })
    }
}

impl Options {
    /// Reads the settings.
    ///
    /// # Errors
    /// Names the setting, what is wrong with it, and what is accepted.
    pub fn read(given: &Given) -> Result<Self, Invalid> {
        let amounts = |name: &'static str, text: &str, sign: char| -> Result<BTreeMap<Signal, Amount>, Invalid> {
            pairs(name, text, sign, Amount::parse)
        };
        let hard = amounts("eviction-hard", &given.hard, '<')?;
        let soft = amounts("eviction-soft", &given.soft, '<')?;
        let graces = pairs("eviction-soft-grace-period", &given.soft_grace_period, '=', duration)?;
        let reclaim = amounts("eviction-minimum-reclaim", &given.minimum_reclaim, '=')?;
        let threshold = |signal: Signal, least: Amount, grace: Option<Duration>| Threshold {
            signal,
            least,
            grace,
            reclaim: reclaim.get(&signal).copied().unwrap_or(Amount::Count(0)),
        };
        let mut thresholds: Vec<Threshold> =
            hard.into_iter().map(|(signal, least)| threshold(signal, least, None)).collect();
        for (signal, least) in soft {
            let Some(grace) = graces.get(&signal) else {
                let why = format!("grace period must be specified for the soft eviction threshold {}", signal.name());
                return Err(Invalid { setting: "eviction-soft", why });
            };
            thresholds.push(threshold(signal, least, Some(*grace)));
        }
        thresholds.retain(|threshold| !threshold.least.is_never());
        Ok(Self { thresholds, transition: given.pressure_transition_period, max_pod_grace: given.max_pod_grace_period })
    }

    /// What no pod can be given of so much, because pods are evicted first.
    pub fn kept(&self, signal: Signal, capacity: u64) -> u64 {
        let hard = self.thresholds.iter().filter(|threshold| threshold.grace.is_none() && threshold.signal == signal);
        hard.map(|threshold| threshold.least.of(capacity)).max().unwrap_or(0).min(capacity)
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    setting: &'static str,
    why: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}: {}", self.setting, self.why)
    }
}

impl std::error::Error for Invalid {}

fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    read.ok_or_else(|| format!("{text:?} is no duration such as 1m30s"))
}

/// `signal<value,signal<value`, or with another sign between the two.
fn pairs<T>(
    setting: &'static str,
    text: &str,
    sign: char,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<BTreeMap<Signal, T>, Invalid> {
    let mut all = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let read = || {
            let (signal, value) =
                part.split_once(sign).ok_or_else(|| format!("{part:?} is not of the form SIGNAL{sign}VALUE"))?;
            Ok((Signal::parse(signal.trim())?, parse(value.trim())?))
        };
        let (signal, value) = read().map_err(|why| Invalid { setting, why })?;
        if all.insert(signal, value).is_some() {
            return Err(Invalid { setting, why: format!("{} is there twice", signal.name()) });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hard(text: &str) -> Result<Vec<Threshold>, String> {
        let given = Given { hard: text.to_owned(), ..Given::default() };
        Options::read(&given).map(|options| options.thresholds).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn limits_are_amounts_or_shares_of_what_there_is() {
        let options = Options::default();
        assert_eq!(options.thresholds.len(), 3);
        let gib = 1 << 30;
        assert_eq!(options.kept(Signal::Memory, 8 * gib), 100 << 20);
        assert_eq!(options.kept(Signal::Disk, 256 * gib), gib, "the kubelet's tenth would be 25 of them");
        assert_eq!(options.kept(Signal::Disk, 5 * gib), gib / 2, "never more than the kubelet's");
        assert_eq!(options.kept(Signal::Inodes, 1000), 50);
        let much = Options::read(&Given { hard: "nodefs.available<1Gi".to_owned(), ..Given::default() }).unwrap();
        assert_eq!(much.kept(Signal::Disk, 5), 5, "never more than there is");
        let kubelet = "imagefs.available<15%,imagefs.inodesFree<5%,memory.available<100Mi,nodefs.available<10%,\
                       nodefs.inodesFree<5%,pid.available<1000";
        assert_eq!(hard(kubelet).unwrap().len(), 6);
        let mine = hard("memory.available<5%, nodefs.available<0%").unwrap();
        assert_eq!(
            mine.iter().map(|t| (t.signal, t.least)).collect::<Vec<_>>(),
            [(Signal::Memory, Amount::Share(0.05))]
        );
        assert_eq!(hard(""), Ok(Vec::new()));
    }

    #[test]
    fn a_soft_limit_has_a_grace_period() {
        let mut given = Given { soft: "memory.available<1Gi".to_owned(), ..Given::default() };
        let why = Options::read(&given).unwrap_err().to_string();
        assert!(why.contains("grace period must be specified for the soft eviction threshold"), "{why}");
        given.soft_grace_period = "memory.available=1m30s".to_owned();
        given.minimum_reclaim = "memory.available=50Mi".to_owned();
        let soft = Options::read(&given).unwrap().thresholds.pop().unwrap();
        let expected = (Some(Duration::from_secs(90)), Amount::Count(50 << 20));
        assert_eq!((soft.grace, soft.reclaim), expected);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (wrong, word) in [
            ("memory.available>1Gi", "SIGNAL<VALUE"),
            ("memory<1Gi", "none of memory.available"),
            ("containerfs.available<15%", "nodefs"),
            ("nodefs.available<1Gi|2Gi", "1Gi|10%"),
            ("memory.available<much", "100Mi"),
            ("memory.available<-5", "100Mi"),
            ("memory.available<101%", "share"),
            ("memory.available<1,memory.available<2", "twice"),
        ] {
            let why = hard(wrong).unwrap_err();
            assert!(why.starts_with("--eviction-hard: ") && why.contains(word), "{wrong}: {why}");
        }
    }
}
