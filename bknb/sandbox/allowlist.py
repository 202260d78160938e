"""The allowlist of a proposed strategy: builtins, modules and names it may use."""

from __future__ import annotations

from typing import Final

from ..domain.signal import Signal


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BUILTINS: Final = _words(
    "abs all any bool dict divmod enumerate filter float frozenset int isinstance iter len list map max min next pow "
    "range repr reversed round set slice sorted str sum tuple zip True False None NotImplemented Ellipsis "
    "ArithmeticError AssertionError Exception FloatingPointError IndexError KeyError LookupError OverflowError "
    "RuntimeError StopIteration TypeError ValueError ZeroDivisionError"
)

_NUMPY: Final = _words(
    "abs absolute add all allclose amax amin any append arange arccos arcsin arctan arctan2 argmax argmin argpartition "
    "argsort argwhere around array array_equal array_split asarray ascontiguousarray atleast_1d atleast_2d average "
    "bincount bool_ broadcast_to cbrt ceil clip column_stack concatenate convolve copy corrcoef correlate cos cosh "
    "count_nonzero cov cross cumprod cumsum deg2rad diag diff digitize divide dot dsplit dstack e ediff1d einsum empty "
    "empty_like equal errstate exp exp2 expand_dims expm1 extract eye fabs flatnonzero flip fliplr flipud float32 "
    "float64 floating floor floor_divide fmax fmin fmod full full_like geomspace gradient greater greater_equal "
    "heaviside histogram hstack hypot identity inf inner int32 int64 integer interp intersect1d invert isclose "
    "isfinite isin isinf isnan isneginf isposinf isscalar less less_equal lexsort linspace log log10 log1p log2 "
    "logaddexp logical_and logical_not logical_or logical_xor logspace max maximum mean median meshgrid min minimum "
    "mod moveaxis multiply nan nan_to_num nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin "
    "nanpercentile nanprod nanquantile nanstd nansum nanvar ndarray ndim negative newaxis nonzero not_equal number "
    "ones ones_like outer pad partition percentile pi piecewise polyfit polyval positive power prod ptp quantile "
    "rad2deg ravel reciprocal remainder repeat reshape roll rot90 round searchsorted select setdiff1d shape sign "
    "signbit sin sinh size sort split sqrt square squeeze stack std subtract sum swapaxes take tan tanh tensordot "
    "tile trace trapezoid transpose tri tril triu true_divide trunc union1d unique unwrap vander var vdot vsplit "
    "vstack where zeros zeros_like"
)

MODULES: Final[dict[str, frozenset[str]]] = {
    "bknb": _words(
        "Add Breakeven Cancel Candles Close Move NotEnoughData Reduce Signal Trailing format_price format_quantity "
        "get_average_price get_candles get_symbol get_when"
    ),
    "collections": _words("Counter OrderedDict defaultdict deque"),
    "datetime": _words("UTC timedelta timezone"),
    "functools": _words("partial reduce"),
    "itertools": _words(
        "accumulate chain combinations compress cycle dropwhile filterfalse groupby islice pairwise permutations "
        "product repeat starmap takewhile zip_longest"
    ),
    "math": _words(
        "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 "
        "expm1 fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp "
        "lgamma log log10 log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt tan tanh tau "
        "trunc ulp"
    ),
    "numpy": _NUMPY,
    "numpy.fft": _words("fft fftfreq ifft irfft rfft rfftfreq"),
    "numpy.lib": frozenset(),
    "numpy.lib.stride_tricks": _words("sliding_window_view"),
    "numpy.linalg": _words("det eig eigh inv lstsq norm pinv solve svd LinAlgError"),
    "numpy.typing": _words("ArrayLike NDArray"),
    "pandas": _words(
        "DataFrame DatetimeIndex Index NA NaT RangeIndex Series Timedelta concat cut date_range isna isnull merge "
        "notna notnull qcut to_datetime to_numeric to_timedelta"
    ),
    "statistics": _words(
        "StatisticsError correlation covariance fmean geometric_mean harmonic_mean linear_regression mean median "
        "median_high median_low mode pstdev pvariance quantiles stdev variance"
    ),
    "talib": _words("MA_Type"),  # and every indicator: its names in capitals
    "typing": _words("Any Final Literal Optional Sequence Union"),
    "__future__": _words("annotations"),
}
"""Module -> its names that may be used; a submodule is listed under its dotted name."""

CONTEXT: Final = _words(
    "candles format_price format_quantity get_average_price get_candles get_symbol get_when price symbol when when_ms"
)
"""What ``ctx`` offers."""

ASKABLE: Final = ("ctx", "symbol", "when", "price")
"""What ``get_signal`` may ask for by name."""

MANAGE: Final = ("manage", "manage_position")
"""Names of the function that is asked while something is open or waits; it may ask for ``position``, too."""

SIGNAL_STOPS: Final = ("price_stop_loss", "stop_percent")
"""One of these ends a position that goes badly."""
SIGNAL_ENDS: Final = ("price_take_profit", "target_percent", "minute_estimated_time", "trailing", "until", "bars")
"""At least one of these ends a position that goes well, unless the code manages it."""
SIGNAL_FIELDS: Final = frozenset(Signal.__struct_fields__)

TO_ALLOWED: Final = _words("to_dict to_frame to_list to_numpy to_pandas to_datetime to_numeric to_timedelta")

_GROUPS: Final = {
    "reads or writes files": "open tofile fromfile save savez savez_compressed load loads dump dumps memmap loadtxt "
    "savetxt genfromtxt fromregex DataSource ExcelWriter HDFStore",
    "reads from the keyboard or prints": "input print display help breakpoint",
    "runs text as code": "eval exec compile query execfile",
    "reaches behind objects": "getattr setattr delattr hasattr vars globals locals dir type object super memoryview "
    "classmethod staticmethod property id callable format format_map mro gi_frame gi_code cr_frame cr_code ag_frame "
    "ag_code f_back f_globals f_locals f_builtins tb_frame tb_next func_globals co_code ctypes ctypeslib base "
    "as_strided frombuffer setflags view getfield setfield newbyteorder byteswap attrgetter methodcaller pipe",
    "calls methods by their names": "agg aggregate transform applymap",
    "draws, and drawing writes files": "plot hist boxplot style",
    "reads the computer's clock": "now today utcnow time monotonic perf_counter fromtimestamp utcfromtimestamp",
    "is random": "random default_rng rand randn randint choice shuffle sample seed RandomState",
    "starts something outside": "system popen spawn fork subprocess socket urlopen request threading Thread "
    "multiprocessing get_ipython exit quit",
    "knows the calendar year": "year isocalendar toordinal isoformat strftime strptime fromisoformat",
    "can tell a backtest from the live market": "mode get_mode",
}
REFUSED: Final = {name: reason for reason, names in _GROUPS.items() for name in names.split()}
"""Name or attribute -> what is wrong with it."""
