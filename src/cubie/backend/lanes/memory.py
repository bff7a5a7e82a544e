"""Typing and lowering of buffers, and of arrays of all runs, as lanes read and write them."""

from __future__ import annotations

import operator

from numba.core import types

from cubie.backend import primitives
from cubie.backend.lanes import instructions as codegen
from cubie.backend.lanes.types import Buf, Flat, LaneOf, Lanes, Mask, lane_type
from cubie.backend.lanes.typing import Registrar, meeting_type, rule, template


def register_buffers(registrar: Registrar) -> None:
    """Elements of a run's buffers."""

    @rule(2)
    def get(buf, index):
        if isinstance(buf, Buf | LaneOf) and isinstance(index, types.Integer):
            return buf.element, buf, types.intp
        return None

    @rule(3)
    def put(buf, index, value):
        if not (isinstance(buf, Buf) and isinstance(index, types.Integer)):
            return None
        element = buf.element
        if value != element and meeting_type(element, value) != element:
            return None
        return types.none, buf, types.intp, element

    template(registrar, operator.getitem, get)
    template(registrar, operator.setitem, put)

    @registrar.lower(operator.getitem, Buf, types.Integer)
    def getitem(context, builder, sig, args):
        return codegen.load(builder, sig.args[0], *args)

    @registrar.lower(operator.getitem, LaneOf, types.Integer)
    def of_lane(context, builder, sig, args):
        lane, (pointer, index) = sig.args[0], args
        index = builder.mul(index, index.type(lane.stride))
        scalar = builder.load(builder.gep(pointer, [index], inbounds=True))
        return codegen.splat(builder, scalar, lane.width)

    @registrar.lower(operator.setitem, Buf, types.Integer, Lanes)
    def setitem(context, builder, sig, args):
        codegen.store(builder, sig.args[0], *args)
        return context.get_dummy_value()


def register_runs(registrar: Registrar) -> None:
    """Traffic between lanes and the arrays of the whole batch, at the kernel's edge."""

    def element_pointer(builder, array, index):
        return builder.gep(array, [index], inbounds=True)

    @rule(2)
    def item_rule(array, index):
        if isinstance(array, Flat) and isinstance(index, types.Integer):
            return array.dtype, array, types.intp
        return None

    template(registrar, operator.getitem, item_rule)

    @registrar.lower(operator.getitem, Flat, types.Integer)
    def getitem(context, builder, sig, args):
        return builder.load(element_pointer(builder, *args))

    @rule(5)
    def load_rule(array, offset, stride, run, n_runs):
        if not (isinstance(array, Flat) and isinstance(run, Lanes)):
            return None
        loaded = Lanes(array.dtype, run.width)
        return loaded, array, types.intp, types.intp, run, types.intp

    template(registrar, primitives.load_run, load_rule)

    @registrar.lower(primitives.load_run, Flat, types.Integer, types.Integer, Lanes, types.Integer)
    def load_run(context, builder, sig, args):
        array_type, runs = sig.args[0], sig.args[3]
        array, offset, stride, run, n_runs = args
        last = builder.sub(n_runs, n_runs.type(1))

        def scalar_of(lane):
            index = codegen.lane_of(builder, run, runs.width, lane)
            index = builder.select(builder.icmp_signed("<", index, last), index, last)
            index = builder.add(offset, builder.mul(stride, index))
            return builder.load(element_pointer(builder, array, index))

        scalar = lane_type(array_type.dtype, 1)
        return codegen.for_each_lane(builder, runs.width, scalar, scalar_of)

    @rule(2)
    def gather_rule(array, index):
        if isinstance(array, Flat) and isinstance(index, Lanes):
            wide = Lanes(types.int64, index.width)
            return Lanes(array.dtype, index.width), array, wide
        return None

    template(registrar, primitives.gather, gather_rule)

    @registrar.lower(primitives.gather, Flat, Lanes)
    def gather(context, builder, sig, args):
        array_type, indices = sig.args

        def scalar_of(lane):
            index = codegen.lane_of(builder, args[1], indices.width, lane)
            return builder.load(element_pointer(builder, args[0], index))

        scalar = lane_type(array_type.dtype, 1)
        return codegen.for_each_lane(builder, indices.width, scalar, scalar_of)

    @rule(5)
    def store_rule(array, offset, run, mask, value):
        if not (isinstance(array, Flat) and isinstance(run, Lanes)):
            return None
        width = run.width
        wide = Lanes(types.int64, width)
        if not isinstance(mask, Mask) or not isinstance(offset, (Lanes, types.Integer)):
            return None
        return types.none, array, wide, wide, mask, Lanes(array.dtype, width)

    template(registrar, primitives.store_run, store_rule)

    @registrar.lower(primitives.store_run, Flat, Lanes, Lanes, Mask, Lanes)
    def store_run(context, builder, sig, args):
        width = sig.args[2].width
        array, offset, run, mask, value = args
        index = builder.add(offset, run)
        for lane in range(width):
            with builder.if_then(codegen.lane_of(builder, mask, width, lane)):
                pointer = element_pointer(
                    builder, array, codegen.lane_of(builder, index, width, lane)
                )
                builder.store(codegen.lane_of(builder, value, width, lane), pointer)
        return context.get_dummy_value()
