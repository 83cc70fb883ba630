"""Data directories as each on-disk format wrote them."""
