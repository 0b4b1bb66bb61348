//! Amounts per asset: a short list, ascending by asset, without zeros. One value has one form, so
//! it can be hashed. Arithmetic is checked; nothing here rounds, wraps or saturates.

use lockstep_types::AssetId;
use parity_scale_codec::{Decode, Encode};

/// So much of one asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Amount {
    /// The asset.
    #[codec(compact)]
    pub asset: AssetId,
    /// How much.
    #[codec(compact)]
    pub amount: u128,
}

/// Amounts of several assets, ascending by asset, none of them zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Amounts(Vec<Amount>);

/// Why an amount cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmountError {
    /// There is less than that.
    Insufficient,
    /// The sum does not fit into 128 bits.
    Overflow,
}

impl Amounts {
    /// How much there is of `asset`.
    pub fn get(&self, asset: AssetId) -> u128 {
        self.find(asset).map_or(0, |at| self.0[at].amount)
    }

    /// Adds to one asset.
    ///
    /// # Errors
    /// [`AmountError::Overflow`]; nothing has changed then.
    pub fn add(&mut self, asset: AssetId, amount: u128) -> Result<(), AmountError> {
        if amount == 0 {
            return Ok(());
        }
        match self.find(asset) {
            Ok(at) => {
                let sum = self.0[at].amount.checked_add(amount);
                self.0[at].amount = sum.ok_or(AmountError::Overflow)?;
            }
            Err(at) => self.0.insert(at, Amount { asset, amount }),
        }
        Ok(())
    }

    /// Takes from one asset.
    ///
    /// # Errors
    /// [`AmountError::Insufficient`]; nothing has changed then.
    pub fn sub(&mut self, asset: AssetId, amount: u128) -> Result<(), AmountError> {
        let rest = self.get(asset).checked_sub(amount);
        let rest = rest.ok_or(AmountError::Insufficient)?;
        match self.find(asset) {
            Ok(at) if rest == 0 => {
                self.0.remove(at);
            }
            Ok(at) => self.0[at].amount = rest,
            Err(_) => assert_eq!(amount, 0, "nothing of nothing"),
        }
        Ok(())
    }

    /// The amounts, ascending by asset.
    pub fn iter(&self) -> impl Iterator<Item = (AssetId, u128)> + '_ {
        self.0.iter().map(|entry| (entry.asset, entry.amount))
    }

    /// Is there nothing at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, asset: AssetId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&asset, |entry| entry.asset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLD: AssetId = AssetId::new(7);

    #[test]
    fn one_value_has_one_form() {
        let mut some = Amounts::default();
        some.add(GOLD, 5).unwrap();
        some.add(AssetId::NATIVE, 3).unwrap();
        some.add(AssetId::new(3), 0).unwrap();
        let listed: Vec<_> = some.iter().collect();
        assert_eq!(listed, [(AssetId::NATIVE, 3), (GOLD, 5)]);
        some.sub(GOLD, 5).unwrap();
        some.sub(AssetId::NATIVE, 3).unwrap();
        assert_eq!(some, Amounts::default());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut some = Amounts::default();
        some.add(GOLD, u128::MAX).unwrap();
        assert_eq!(some.add(GOLD, 1), Err(AmountError::Overflow));
        assert_eq!(some.get(GOLD), u128::MAX);
        assert_eq!(some.sub(AssetId::NATIVE, 1), Err(AmountError::Insufficient));
        assert_eq!(some.sub(AssetId::NATIVE, 0), Ok(()));
    }
}
