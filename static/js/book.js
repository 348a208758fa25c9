// One market's order books as the feed tells them: absolute sizes, and a checksum to prove them by.

const CHECKED_LEVELS = 10;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** CRC-32 of a text's UTF-8, as zlib has it. */
export function crc32(text) {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Books by outcome name. Prices are the feed's texts with four decimals, which sort as they count. */
export class Book {
  /** `names` in order; a binary market's book is of the first only. */
  constructor(names) {
    this.names = names.length === 2 ? names.slice(0, 1) : names;
    this.clear();
  }

  clear() {
    this.sides = new Map(this.names.map((name) => [name, { bid: new Map(), ask: new Map() }]));
    this.known = false;
  }

  /** Take a frame's data; false if the books do not come out as the checksum says. */
  apply(data) {
    if (data.type === "snapshot") {
      this.clear();
      for (const [side, books] of [["bid", data.bids], ["ask", data.asks]]) {
        for (const [name, levels] of Object.entries(books)) {
          for (const [price, quantity] of levels) this.sides.get(name)?.[side].set(price, quantity);
        }
      }
      this.known = true;
    } else {
      if (!this.known) return false;
      for (const [name, side, price, quantity] of data.changes) {
        const levels = this.sides.get(name)?.[side];
        if (!levels) return false;
        if (quantity === 0) levels.delete(price);
        else levels.set(price, quantity);
      }
    }
    return this.checksum() === data.checksum;
  }

  /** [[price text, quantity]…], best first. */
  levels(name, side) {
    const levels = [...(this.sides.get(name)?.[side] ?? [])];
    const up = side === "ask" ? 1 : -1;
    return levels.sort(([a], [b]) => (a < b ? -up : up));
  }

  checksum() {
    const lines = [];
    for (const name of this.names) {
      for (const side of ["bid", "ask"]) {
        for (const [price, quantity] of this.levels(name, side).slice(0, CHECKED_LEVELS)) {
          lines.push(`${name}|${side}|${price}|${quantity}`);
        }
      }
    }
    return crc32(lines.join("\n"));
  }
}

/** What somebody can trade against in one outcome's own terms: { bids, asks }, [[pips, quantity]…] best first. */
export function ladderOf(book, names, name, pipsOf, sharePips) {
  const own = (side, shown) => book.levels(shown, side).map(([price, quantity]) => [pipsOf(price), quantity]);
  if (names.length !== 2 || name === names[0]) return { bids: own("bid", name), asks: own("ask", name) };
  // The second outcome of a binary market is the first one's mirror image.
  const mirrored = (levels) => levels.map(([pips, quantity]) => [sharePips - pips, quantity]);
  return { bids: mirrored(own("ask", names[0])), asks: mirrored(own("bid", names[0])) };
}
