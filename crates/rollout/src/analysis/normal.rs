//! The tail of the normal distribution. Hand-written because the standard library has no `erfc` and the engine links
//! as little as it can.

/// P(Z >= z) for a standard normal Z, to a relative error of 1.2e-7 (Numerical Recipes in C, 2nd ed., section 6.2,
/// `erfcc`): enough for levels that are themselves chosen to one digit.
pub(super) fn upper_tail(z: f64) -> f64 {
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let x = (z / std::f64::consts::SQRT_2).abs();
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (series - x * x).exp();
    if z >= 0.0 { tail } else { 1.0 - tail }
}
