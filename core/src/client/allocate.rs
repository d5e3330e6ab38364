//! Which queues of a topic belong to which member of a group: the average strategy (`AVG`).
//!
//! Every member computes this alone, so all must sort alike: queues by topic, broker name, id; members as strings.

/// The share of the member `me` among `members` (sorted), of `queues` (sorted): a run of neighbours.
///
/// Empty when `me` is not a member. The first members get one queue more where it does not divide evenly.
pub fn average<'a, Q>(queues: &'a [Q], members: &[&str], me: &str) -> &'a [Q] {
    let Some(i) = members.iter().position(|m| *m == me) else { return &[] };
    let (n, c) = (queues.len(), members.len());
    let extra = n % c;
    let size = if n <= c { 1 } else { n / c + usize::from(i < extra) };
    let start = if i < extra { i * size } else { i * size + extra };
    if start >= n { &[] } else { &queues[start..(start + size).min(n)] }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn shares(n: usize, c: usize) -> Vec<Vec<usize>> {
        let queues: Vec<usize> = (0..n).collect();
        let names: Vec<String> = (0..c).map(|i| format!("client{i:03}")).collect();
        let members: Vec<&str> = names.iter().map(String::as_str).collect();
        members.iter().map(|me| average(&queues, &members, me).to_vec()).collect()
    }

    #[test]
    fn published_vectors() {
        assert_eq!(shares(10, 3), [&[0, 1, 2, 3][..], &[4, 5, 6], &[7, 8, 9]]);
        assert_eq!(shares(8, 3), [&[0, 1, 2][..], &[3, 4, 5], &[6, 7]]);
        assert_eq!(shares(16, 5), [&[0, 1, 2, 3][..], &[4, 5, 6], &[7, 8, 9], &[10, 11, 12], &[13, 14, 15]]);
        assert_eq!(shares(3, 5), [&[0][..], &[1], &[2], &[], &[]]);
        assert_eq!(shares(0, 2), [&[][..] as &[usize], &[]]);
    }

    #[test]
    fn a_stranger_gets_nothing() {
        assert!(average(&[1, 2, 3], &["a", "b"], "c").is_empty());
        assert!(average(&[1, 2, 3], &[], "c").is_empty());
    }

    proptest! {
        #[test]
        fn every_queue_has_one_owner(n in 0_usize..200, c in 1_usize..50) {
            let shares = shares(n, c);
            let all: Vec<usize> = shares.concat();
            prop_assert_eq!(all, (0..n).collect::<Vec<_>>());
            let most = shares.iter().map(Vec::len).max().unwrap_or(0);
            let least = shares.iter().map(Vec::len).min().unwrap_or(0);
            prop_assert!(most - least <= 1);
        }
    }
}
