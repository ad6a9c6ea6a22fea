//! Drawing by weight.

use fastrand::Rng;

/// Draws positions with probabilities by weight, in constant time (Walker's alias method, with tables as Vose makes them).
#[derive(Debug)]
pub(super) struct Sampler {
    count: u64,
    /// Empty if all weights are equal.
    columns: Box<[Column]>,
}

/// One of equally probable columns: itself in `keep` of 2^32 cases, else another.
#[derive(Debug, Clone, Copy)]
struct Column {
    keep: u32,
    other: u32,
}

impl Sampler {
    pub fn new(weights: &[u32]) -> Self {
        let count = weights.len() as u64;
        let equal = weights.windows(2).all(|pair| pair.first() == pair.last());
        let columns = if equal { Vec::new() } else { columns(weights) };
        Self { count, columns: columns.into() }
    }

    /// A position below the number of weights; 0 if there are none.
    pub fn draw(&self, random: &mut Rng) -> usize {
        let bits = random.u64(..);
        let index = (((bits >> 32) * self.count) >> 32) as usize;
        match self.columns.get(index) {
            Some(column) if bits as u32 >= column.keep => column.other as usize,
            _ => index,
        }
    }
}

/// Every column holds an equal part of the total: what a small weight leaves free of its own is filled from a large one.
fn columns(weights: &[u32]) -> Vec<Column> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let count = weights.len() as u64;
    let mut columns: Vec<_> = (0..weights.len()).map(|own| Column { keep: u32::MAX, other: own as u32 }).collect();
    let scaled = weights.iter().enumerate().map(|(index, weight)| (index, u64::from(*weight) * count));
    let (mut small, mut large): (Vec<_>, Vec<_>) = scaled.partition(|(_, part)| *part < total);
    while let (Some((poor, part)), Some((rich, surplus))) = (small.pop(), large.pop()) {
        if let Some(column) = columns.get_mut(poor) {
            let keep = (u128::from(part) << 32) / u128::from(total);
            *column = Column { keep: keep as u32, other: rich as u32 };
        }
        let left = surplus - (total - part);
        if left < total { small.push((rich, left)) } else { large.push((rich, left)) }
    }
    columns
}
