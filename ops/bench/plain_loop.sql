-- The plain exchange that the engine is compared with: one transaction an order, matching in SQL under row locks.
-- Binary markets, cash locked per order, price-time priority. No log, no claims, no netting: less than the engine does.

CREATE TABLE plain_account (account_id int PRIMARY KEY, cash_pips bigint NOT NULL CHECK (cash_pips >= 0));
CREATE TABLE plain_market (market_id int PRIMARY KEY, seq bigint NOT NULL DEFAULT 0) WITH (fillfactor = 50);
CREATE TABLE plain_order (
    order_id   bigint PRIMARY KEY,
    market_id  int    NOT NULL,
    account_id int    NOT NULL,
    side       text   NOT NULL,
    price_pips int    NOT NULL,
    quantity   int    NOT NULL,
    remaining  int    NOT NULL,
    status     text   NOT NULL
);
CREATE INDEX plain_order_book ON plain_order (market_id, side, price_pips, order_id) WHERE status = 'open';
CREATE TABLE plain_trade (
    trade_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    market_id  int NOT NULL,
    maker_id   bigint NOT NULL,
    taker_id   bigint NOT NULL,
    price_pips int NOT NULL,
    quantity   int NOT NULL
);
CREATE TABLE plain_position (
    account_id int NOT NULL,
    market_id  int NOT NULL,
    shares     bigint NOT NULL,
    PRIMARY KEY (account_id, market_id)
);

-- What a side has to put up for a share: a buyer the price, a seller the rest of the dollar.
CREATE FUNCTION plain_cost(a_side text, a_price int) RETURNS int LANGUAGE sql IMMUTABLE AS
    $$ SELECT CASE a_side WHEN 'buy' THEN a_price ELSE 10000 - a_price END $$;

CREATE FUNCTION plain_move(a_account int, a_market int, a_shares bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO plain_position VALUES (a_account, a_market, a_shares)
    ON CONFLICT (account_id, market_id) DO UPDATE SET shares = plain_position.shares + excluded.shares
$$;

CREATE FUNCTION plain_place(a_order bigint, a_market int, a_account int, a_side text, a_price int, a_quantity int)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    maker     plain_order;
    remains   int := a_quantity;
    traded    int;
    opposite  text := CASE a_side WHEN 'buy' THEN 'sell' ELSE 'buy' END;
    direction int := CASE a_side WHEN 'buy' THEN 1 ELSE -1 END;
BEGIN
    UPDATE plain_market SET seq = seq + 1 WHERE market_id = a_market;
    UPDATE plain_account SET cash_pips = cash_pips - plain_cost(a_side, a_price)::bigint * a_quantity
        WHERE account_id = a_account AND cash_pips >= plain_cost(a_side, a_price)::bigint * a_quantity;
    IF NOT FOUND THEN
        INSERT INTO plain_order VALUES
            (a_order, a_market, a_account, a_side, a_price, a_quantity, a_quantity, 'rejected');
        RETURN 'rejected';
    END IF;
    WHILE remains > 0 LOOP
        IF a_side = 'buy' THEN
            SELECT * INTO maker FROM plain_order
                WHERE market_id = a_market AND side = opposite AND status = 'open' AND price_pips <= a_price
                ORDER BY price_pips, order_id LIMIT 1 FOR UPDATE;
        ELSE
            SELECT * INTO maker FROM plain_order
                WHERE market_id = a_market AND side = opposite AND status = 'open' AND price_pips >= a_price
                ORDER BY price_pips DESC, order_id LIMIT 1 FOR UPDATE;
        END IF;
        EXIT WHEN NOT FOUND;
        traded := least(remains, maker.remaining);
        remains := remains - traded;
        UPDATE plain_order SET remaining = remaining - traded,
            status = CASE WHEN remaining = traded THEN 'filled' ELSE 'open' END WHERE order_id = maker.order_id;
        INSERT INTO plain_trade (market_id, maker_id, taker_id, price_pips, quantity)
            VALUES (a_market, maker.order_id, a_order, maker.price_pips, traded);
        PERFORM plain_move(a_account, a_market, direction * traded);
        PERFORM plain_move(maker.account_id, a_market, -direction * traded);
        -- The taker keeps the improvement.
        UPDATE plain_account SET cash_pips = cash_pips
            + (plain_cost(a_side, a_price) - plain_cost(a_side, maker.price_pips))::bigint * traded
            WHERE account_id = a_account;
    END LOOP;
    INSERT INTO plain_order VALUES (a_order, a_market, a_account, a_side, a_price, a_quantity, remains,
        CASE WHEN remains = 0 THEN 'filled' ELSE 'open' END);
    RETURN 'accepted';
END $$;

CREATE FUNCTION plain_cancel(a_order bigint, a_market int, a_account int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found_order plain_order;
BEGIN
    UPDATE plain_market SET seq = seq + 1 WHERE market_id = a_market;
    UPDATE plain_order SET status = 'cancelled'
        WHERE order_id = a_order AND account_id = a_account AND status = 'open' RETURNING * INTO found_order;
    IF NOT FOUND THEN
        RETURN 'refused';
    END IF;
    UPDATE plain_account SET cash_pips = cash_pips
        + plain_cost(found_order.side, found_order.price_pips)::bigint * found_order.remaining
        WHERE account_id = a_account;
    RETURN 'accepted';
END $$;
