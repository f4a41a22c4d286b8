//! Medians, and how far they can be trusted.

/// A median with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The median.
    pub median: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// From how many values.
    pub n: usize,
}

/// The median of `values` with an interval that holds the true median with 95 % or a little more, whatever the
/// values' distribution: the narrowest pair of order statistics that reaches it. Of fewer than six values no pair
/// does, and the interval is all of them. `None` of no values.
pub fn estimate(mut values: Vec<f64>) -> Option<Estimate> {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    let median = match n {
        0 => return None,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    };
    let cut = cut(n);
    Some(Estimate { median, low: values[cut], high: values[n - 1 - cut], n })
}

/// How many values on each side may be left out.
fn cut(n: usize) -> usize {
    // The chance that exactly `below` of n values are below the median is C(n, below) / 2^n.
    let mut chance = 0.5_f64.powi(n as i32);
    let mut outside = 0.0;
    for below in 0..n / 2 {
        outside += 2.0 * chance;
        if outside > 0.05 {
            return below.saturating_sub(1);
        }
        chance *= (n - below) as f64 / (below + 1) as f64;
    }
    (n / 2).saturating_sub(1)
}

/// The value below which a share of `values` lies. Orders them.
pub fn quantile(values: &mut [u32], share: f64) -> u32 {
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    *values.select_nth_unstable(at).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(n: usize) -> (f64, f64) {
        let values = (1..=n).map(|value| value as f64).collect();
        let estimate = estimate(values).unwrap();
        (estimate.low, estimate.high)
    }

    #[test]
    fn intervals_are_those_of_the_sign_test() {
        // From a table of the binomial distribution: n, ranks of the 95 % interval of the median.
        assert_eq!(interval(5), (1.0, 5.0));
        assert_eq!(interval(6), (1.0, 6.0));
        assert_eq!(interval(9), (2.0, 8.0));
        assert_eq!(interval(15), (4.0, 12.0));
        assert_eq!(interval(20), (6.0, 15.0));
        assert_eq!(interval(100), (40.0, 61.0));
    }

    #[test]
    fn a_median_lies_between_the_middle_values() {
        assert_eq!(estimate(vec![3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(estimate(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(estimate(Vec::new()), None);
        assert_eq!(interval(1), (1.0, 1.0));
        assert_eq!(interval(2), (1.0, 2.0));
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut values: Vec<u32> = (1..=1000).rev().collect();
        assert_eq!(quantile(&mut values, 0.5), 501);
        assert_eq!(quantile(&mut values, 0.99), 990);
        assert_eq!(quantile(&mut [7], 0.999), 7);
    }
}
