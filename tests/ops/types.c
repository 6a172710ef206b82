/* types.c: floats, halves and bfloat16s as IEEE 754 defines such types: a sign, an exponent and a fraction. */
#include "tests/ops/ops_test.h"

#include <math.h>

typedef struct format {
    int exponent_bits, fraction_bits;
    int lowest;  /* exponent of the smallest normal number: subnormals have its unit */
    int highest; /* exponent of the largest number */
} format;

static format format_of(bft_dtype type) {
    int exponent_bits = type == BFT_F16 ? 5 : 8, bias = (1 << (exponent_bits - 1)) - 1;
    return (format){exponent_bits, type == BFT_F32 ? 23 : type == BFT_F16 ? 10 : 7, 1 - bias, bias};
}

double value_of(bft_dtype type, uint32_t bits) {
    format f = format_of(type);
    uint32_t fraction = bits & ((1u << f.fraction_bits) - 1);
    int exponent = (int)(bits >> f.fraction_bits & ((1u << f.exponent_bits) - 1)), top = (1 << f.exponent_bits) - 1;
    double sign = bits >> (f.exponent_bits + f.fraction_bits) != 0 ? -1 : 1;
    if (exponent == top) {
        return fraction == 0 ? sign * INFINITY : NAN;
    }
    uint32_t whole = exponent == 0 ? fraction : fraction | 1u << f.fraction_bits;
    return sign * ldexp(whole, (exponent == 0 ? 1 : exponent) - f.highest - f.fraction_bits);
}

/* A multiple of its unit in the last place, which rint chooses. Beyond the largest number is infinity. */
double round_value(bft_dtype type, double x) {
    format f = format_of(type);
    if (x == 0 || !isfinite(x)) {
        return x;
    }
    int exponent = ilogb(x) < f.lowest ? f.lowest : ilogb(x), unit = exponent - f.fraction_bits;
    double rounded = ldexp(rint(ldexp(x, -unit)), unit);
    return fabs(rounded) < ldexp(1, f.highest + 1) ? rounded : copysign(INFINITY, x);
}

uint32_t bits_of_value(bft_dtype type, double rounded) {
    format f = format_of(type);
    uint32_t sign = (signbit(rounded) ? 1u : 0u) << (f.exponent_bits + f.fraction_bits);
    uint32_t top = ((1u << f.exponent_bits) - 1) << f.fraction_bits;
    if (!isfinite(rounded)) {
        return sign | top | (isnan(rounded) ? 1u << (f.fraction_bits - 1) : 0);
    }
    if (fabs(rounded) < ldexp(1, f.lowest)) {
        return sign | (uint32_t)ldexp(fabs(rounded), f.fraction_bits - f.lowest);
    }
    int exponent = ilogb(rounded);
    uint32_t whole = (uint32_t)ldexp(fabs(rounded), f.fraction_bits - exponent);
    /* whole's highest bit adds 1 to the exponent */
    return sign | (((uint32_t)(exponent - f.lowest) << f.fraction_bits) + whole);
}
