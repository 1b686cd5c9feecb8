//! What a graph adds to attention scores.

use nerve_kernels::PositionBias;

use crate::encoder::constants::Constants;
use crate::encoder::error::UnfitGraph;
use crate::encoder::pattern::{Producers, TokenPatterns, bias_rows};

/// The value that a graph adds to attention scores: the mask of padding, perhaps with a bias by distance.
pub(super) struct ScoreBias<'g> {
    /// The name of the value.
    pub(super) name: &'g str,
    /// The biases of heads and distances; none where only the mask is added.
    pub(super) by_distance: Option<PositionBias>,
}

/// The value that is added to attention scores: the mask, or the mask plus a bias by distance, whose table is removed from the
/// constants.
pub(super) fn read_score_bias<'g>(
    name: &'g str,
    heads: usize,
    patterns: &TokenPatterns,
    constants: &mut Constants,
    producers: &Producers<'g>,
) -> Result<ScoreBias<'g>, UnfitGraph> {
    if producers.fits(constants, name, &patterns.mask) {
        let by_distance = None;
        return Ok(ScoreBias { name, by_distance });
    }
    let unfit = || UnfitGraph::Value {
        name: name.to_owned(),
        expected: "the mask of padding, alone or with a bias by distance",
    };
    let (_, [bias, mask]) = producers
        .node::<2>(name, "Add")
        .filter(|(node, _)| node.attribute.is_empty())
        .ok_or_else(unfit)?;
    // From `[1, query, key, heads]` to `[heads, 1, query, key]`.
    let (_, [of_positions]) = producers
        .node::<1>(bias, "Transpose")
        .filter(|(node, _)| {
            matches!(&node.attribute[..], [order] if order.name == "perm" && order.ints == [3, 0, 1, 2])
        })
        .ok_or_else(unfit)?;
    let (_, [table, rows]) = producers
        .node::<2>(of_positions, "Gather")
        .filter(|(node, _)| {
            let mut attributes = node.attribute.iter();
            attributes.all(|axis| axis.name == "axis" && axis.i.unwrap_or(0) == 0)
        })
        .ok_or_else(unfit)?;
    let distances = constants.rows::<f32>(table, heads)?;
    let longest = i64::try_from(distances / 2).unwrap_or(i64::MAX / 2);
    if !producers.fits(constants, mask, &patterns.mask)
        || !producers.fits(constants, rows, &bias_rows(longest))
    {
        return Err(unfit());
    }
    let by_distance = PositionBias::new(&constants.take(table, &[distances, heads])?, heads)?;
    Ok(ScoreBias {
        name,
        by_distance: Some(by_distance),
    })
}
