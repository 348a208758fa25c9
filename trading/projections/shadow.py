"""A second set of a projection's tables in a schema of its own, to be filled unseen and then swapped in.

Owns the schema `rebuild_<projection>`. The copies have the originals' columns, constraints, indexes
and partitions, under the same names, so that after the swap nothing tells them apart.
"""

from typing import Any

from psycopg import sql

from trading.projections.projection import Projection

LIVE = "public"
DISCARDED = "rebuild_discarded"


class TableInUse(Exception):
    """Something outside the projection refers to its tables, so they cannot be exchanged."""


class Shadow:
    """The copies. Every method wants a psycopg cursor; DDL in PostgreSQL is part of the transaction."""

    def __init__(self, projection: Projection) -> None:
        self.schema = f"rebuild_{projection.name}"
        self._tables = projection.tables

    def make(self, cursor: Any) -> None:
        """Empty copies, in place of what an earlier attempt may have left, with checkpoints at the beginning."""
        self._refuse_outside_references(cursor)
        self.drop(cursor)
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.schema)))
        for table in self._tables:
            self._copy_table(cursor, table)
        for table in self._tables:
            self._copy_foreign_keys(cursor, table)
        cursor.execute(
            sql.SQL("CREATE TABLE {} (LIKE public.projection_checkpoint INCLUDING ALL)").format(
                self._name("projection_checkpoint")
            )
        )

    def work_here(self, cursor: Any) -> None:
        """From now on the projection's table names mean the copies; all other names mean what they always do."""
        cursor.execute(sql.SQL("SET search_path = {}, public").format(sql.Identifier(self.schema)))

    def analyze(self, cursor: Any) -> None:
        """Statistics for the planner, so that the first queries after the swap are not planned for empty tables."""
        for table in self._tables:
            cursor.execute(sql.SQL("ANALYZE {}").format(self._name(table)))

    def swap(self, cursor: Any, projection_name: str) -> None:
        """Exchanges the copies for the live tables and takes over their checkpoints; drops the old tables."""
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(DISCARDED)))
        for table in self._tables:
            self._copy_partitions(cursor, table)
            for name in [table, *_partitions(cursor, LIVE, table)]:
                _move(cursor, name, LIVE, DISCARDED)
            for name in [table, *_partitions(cursor, self.schema, table)]:
                _move(cursor, name, self.schema, LIVE)
        cursor.execute(
            sql.SQL(
                "UPDATE public.projection_checkpoint p SET next_offset = r.next_offset, recorded_at = r.recorded_at, "
                "swaps = p.swaps + 1 "
                "FROM {} r WHERE p.projection = %s AND r.projection = p.projection AND r.slot = p.slot"
            ).format(self._name("projection_checkpoint")),
            [projection_name],
        )
        cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(DISCARDED)))
        self.drop(cursor)

    def drop(self, cursor: Any) -> None:
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(self.schema)))

    def _name(self, table: str) -> sql.Identifier:
        return sql.Identifier(self.schema, table)

    def _refuse_outside_references(self, cursor: Any) -> None:
        cursor.execute(
            "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint "
            "WHERE contype = 'f' AND confrelid = ANY(%s::regclass[]) AND NOT conrelid = ANY(%s::regclass[])",
            [[f'public."{table}"' for table in self._tables]] * 2,
        )
        if row := cursor.fetchone():
            raise TableInUse(f"{row[0]} has a foreign key to {row[1]}: a read model must not be referred to")

    def _copy_table(self, cursor: Any, table: str) -> None:
        partition_key = _one(cursor, "SELECT pg_get_partkeydef(%s::regclass)", table)
        cursor.execute(
            sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES){}").format(
                self._name(table),
                sql.Identifier(LIVE, table),
                sql.SQL(f" PARTITION BY {partition_key}" if partition_key else ""),
            )
        )
        for name, definition in _constraints(cursor, table, "p"):
            self._add_constraint(cursor, table, name, definition)
        # pg_get_indexdef always names the schema, so that is what is replaced.
        cursor.execute(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass AND NOT indisprimary",
            [f'public."{table}"'],
        )
        for (definition,) in cursor.fetchall():
            copied = definition.replace(" ON ONLY public.", " ON public.", 1)
            cursor.execute(copied.replace(" ON public.", f' ON "{self.schema}".', 1))
        self._copy_partitions(cursor, table)

    def _copy_partitions(self, cursor: Any, table: str) -> None:
        """The partitions that the copy lacks; a month may have been added since it was made."""
        live, copied = _partitions(cursor, LIVE, table), _partitions(cursor, self.schema, table)
        for name, bound in live.items():
            if name not in copied:
                cursor.execute(
                    sql.SQL("CREATE TABLE {} PARTITION OF {} {}").format(
                        self._name(name), self._name(table), sql.SQL(bound)
                    )
                )

    def _copy_foreign_keys(self, cursor: Any, table: str) -> None:
        cursor.execute("SET LOCAL search_path = public")
        definitions = _constraints(cursor, table, "f")
        cursor.execute(sql.SQL("SET LOCAL search_path = {}, public").format(sql.Identifier(self.schema)))
        for name, definition in definitions:
            self._add_constraint(cursor, table, name, definition)

    def _add_constraint(self, cursor: Any, table: str, name: str, definition: str) -> None:
        cursor.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                self._name(table), sql.Identifier(name), sql.SQL(definition)
            )
        )


def _constraints(cursor: Any, table: str, kind: str) -> list[tuple[str, str]]:
    cursor.execute(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::regclass AND contype = %s",
        [f'public."{table}"', kind],
    )
    return list(cursor.fetchall())


def _partitions(cursor: Any, schema: str, table: str) -> dict[str, str]:
    """Name and bounds of each partition."""
    cursor.execute(
        "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = %s::regclass ORDER BY 1",
        [f'"{schema}"."{table}"'],
    )
    return dict(cursor.fetchall())


def _move(cursor: Any, table: str, source: str, target: str) -> None:
    cursor.execute(
        sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(sql.Identifier(source, table), sql.Identifier(target))
    )


def _one(cursor: Any, query: str, table: str) -> Any:
    cursor.execute(query, [f'public."{table}"'])
    return cursor.fetchone()[0]
