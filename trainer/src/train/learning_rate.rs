//! The learning rate of a training that is given none.

/// The highest learning rate of a training: the configured one, or else the default for the size of the model.
pub(super) fn learning_rate(configured: Option<f64>, hidden_size: usize) -> f64 {
    configured.unwrap_or_else(|| default_learning_rate(hidden_size))
}

/// The highest learning rate of AdamW for an encoder of this hidden size, where the configuration gives none.
///
/// Larger models need smaller rates: 5e-5 and 2e-5 are the highest and the lowest rate that Devlin et al. (2019) tune
/// BERT-base (768) and BERT-large (1024) over. For narrower encoders 2e-4 is what MiniLM-L6 (384) was measured at on
/// WNUT-17; Turc et al. (2019) tune BERT miniatures (128 to 512) up to 3e-4.
pub(super) fn default_learning_rate(hidden_size: usize) -> f64 {
    match hidden_size {
        ..512 => 2e-4,
        512..1024 => 5e-5,
        1024.. => 2e-5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_encoder_has_a_lower_rate() {
        for (hidden_size, rate) in [
            (128, 2e-4),
            (384, 2e-4),
            (512, 5e-5),
            (768, 5e-5),
            (1024, 2e-5),
            (4096, 2e-5),
        ] {
            assert_eq!(default_learning_rate(hidden_size), rate, "{hidden_size}");
        }
    }
}
