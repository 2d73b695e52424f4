// The inverse transforms of H.264 (8.5.12, 8.5.13) on 16-bit coefficients. Coefficients come
// transposed: element (row, column) stands at column * n + row, which saves one transposition.
// Results are r_ij, the rounding shift by 6 included. The caller guarantees that no intermediate
// leaves the 16-bit range, as the standard demands of a bitstream.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cvdecode::kernels {

// coefficients: 16 values, 16-byte aligned. stride in samples.
void idct4x4(const int16_t* coefficients, int16_t* out, ptrdiff_t stride);
// coefficients: 64 values, 16-byte aligned.
void idct8x8(const int16_t* coefficients, int16_t* out, ptrdiff_t stride);

// The same, written out from the clauses in 32 bits. False where an element of 8.5.12.2 or 8.5.13.2
// leaves the range that the standard allows for 8-bit video; then nothing useful is in `out`.
bool idct4x4_checked(const int16_t* coefficients, int16_t* out, ptrdiff_t stride);
bool idct8x8_checked(const int16_t* coefficients, int16_t* out, ptrdiff_t stride);

// The sum of absolute coefficients up to which idct4x4() and idct8x8() cannot overflow.
inline constexpr int64_t kSafeSum4x4 = 32700;
inline constexpr int64_t kSafeSum8x8 = 14000;  // each 1-D pass may grow a value by 1.5

}  // namespace cvdecode::kernels
