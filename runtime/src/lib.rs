//! What code compiled by netc calls at run time.
