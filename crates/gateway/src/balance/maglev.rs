//! Maglev's consistent hashing (Eisenbud et al., "Maglev: a fast and reliable software network load balancer", 3.4), with
//! weights as Envoy has them.

use std::sync::Arc;

use super::{Ask, Balance, Endpoint, Endpoints, hashing::of_address};

/// A prime, much larger than the number of endpoints: shares differ by less than the ratio.
const SIZE: usize = 65_537;
const FREE: u16 = u16::MAX;

/// Which endpoint each hash belongs to.
#[derive(Debug)]
pub(super) struct Maglev(Box<[u16]>);

/// One endpoint while the table is filled.
struct Filling {
    /// Its own order of the table's places.
    place: usize,
    skip: usize,
    weight: u64,
    /// It has a turn when the rounds times its weight have reached this.
    due: u64,
}

impl Maglev {
    pub fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        let mut table = vec![FREE; SIZE];
        let mut filling: Vec<_> = endpoints
            .iter()
            // A table cannot have more: the others get requests only when these have been tried.
            .take(usize::from(FREE))
            .map(|endpoint| {
                let place = (of_address(endpoint.address(), 0) % SIZE as u64) as usize;
                let skip = (of_address(endpoint.address(), 1) % (SIZE as u64 - 1)) as usize + 1;
                Filling { place, skip, weight: endpoint.weight().into(), due: 0 }
            })
            .collect();
        let heaviest = filling.iter().map(|one| one.weight).max().unwrap_or(1);
        let (mut left, mut rounds) = (if filling.is_empty() { 0 } else { SIZE }, 0);
        // Whoever is heaviest has a turn in every round, one of a third of that weight in every third.
        while left > 0 {
            rounds += 1;
            for (index, one) in filling.iter_mut().enumerate() {
                if left == 0 || rounds * one.weight < one.due {
                    continue;
                }
                one.due += heaviest;
                if let Some(place) = next_free(&mut table, one) {
                    *place = index as u16;
                    left -= 1;
                }
            }
        }
        Self(table.into())
    }
}

/// An endpoint's next place that is free. Its order visits every place, because their number is a prime.
fn next_free<'t>(table: &'t mut [u16], one: &mut Filling) -> Option<&'t mut u16> {
    let mut visited = (0..SIZE).map(|_| {
        let place = one.place;
        one.place = (place + one.skip) % SIZE;
        place
    });
    let place = visited.find(|place| table.get(*place) == Some(&FREE))?;
    table.get_mut(place)
}

impl Balance for Maglev {
    fn pick(&self, endpoints: &Endpoints, ask: &mut Ask<'_>) -> Option<usize> {
        let key = ask.key.unwrap_or_else(|| ask.random.u64(..));
        let (before, after) = self.0.split_at_checked((key % SIZE as u64) as usize)?;
        let mut next = after.iter().chain(before).map(|index| usize::from(*index));
        next.find(|index| endpoints.is_free(*index, ask)).or_else(|| endpoints.any(ask))
    }
}
