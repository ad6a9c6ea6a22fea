-- What an order took, so that calling it off gives back that and no more: an item that was not counted when it was ordered, and is
-- counted now, would otherwise be there more often than it is. NULL is an order from before, or by an older release.
ALTER TABLE order_lines ADD COLUMN taken BIGINT;
ALTER TABLE orders ADD COLUMN coupon_counted BIGINT;
