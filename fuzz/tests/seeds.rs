//! Every target on its seeds, and on many small changes of each: the same ones every time.

use std::{fs, path::Path};

const CHANGES: usize = 1_000;
/// Of what takes its time: each of these is compiled several times.
const FEWER: &[(&str, usize)] = &[("translation", 50), ("definition", 200), ("custom", 300)];

fn changed(seed: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..=data.len());
        match random.u8(..5) {
            0 => data.truncate(at.max(1)),
            1 => data.insert(at, *random.choice(b"\n :-{}[]\"'&*|>#!?,=()\0\xff09az").unwrap_or(&0)),
            2 if at < data.len() => drop(data.remove(at)),
            3 if at < data.len() => data[at] = random.u8(..),
            _ => {
                let end = (at + random.usize(..20)).min(data.len());
                let piece = data[at..end].to_vec();
                let to = random.usize(..=data.len());
                data.splice(to..to, piece);
            }
        }
    }
    data
}

#[test]
fn every_target_bears_its_seeds_and_what_is_near_them() {
    for (name, target) in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no seeds");
        for file in files {
            let seed = fs::read(&file).unwrap();
            target(&seed);
            let mut random = fastrand::Rng::with_seed(1);
            let fewer = FEWER.iter().find(|(slow, _)| slow == name);
            for _ in 0..fewer.map_or(CHANGES, |(_, count)| *count) {
                target(&changed(&seed, &mut random));
            }
        }
    }
}
