//! Keys, signatures, evidence about images, and the ledger's chain.
