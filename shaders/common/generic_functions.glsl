// The functions of generic steps on single numbers, by pocket::GenericFunction.
const uint kCopy = 0u, kNeg = 1u, kAbs = 2u, kExp = 3u, kLog = 4u, kSqrt = 5u, kReciprocal = 6u,
           kTanh = 7u, kSigmoid = 8u, kErf = 9u, kSin = 10u, kCos = 11u, kFloor = 12u, kCeil = 13u,
           kRound = 14u, kSign = 15u, kRelu = 16u, kSoftplus = 17u, kIsNan = 18u, kIsInf = 19u,
           kNot = 20u, kToBool = 21u, kAdd = 22u, kSub = 23u, kMul = 24u, kDiv = 25u, kPow = 26u,
           kMod = 27u, kFmod = 28u, kMin = 29u, kMax = 30u, kEqual = 31u, kLess = 32u,
           kLessEqual = 33u, kAnd = 34u, kOr = 35u, kXor = 36u, kKeep = 37u, kWhere = 38u,
           kClip = 39u, kReduceSum = 40u, kReduceMean = 41u, kReduceProd = 42u, kReduceMax = 43u,
           kReduceMin = 44u, kReduceL1 = 45u, kReduceL2 = 46u, kReduceSumSquare = 47u,
           kReduceArgmax = 48u, kReduceArgmin = 49u, kDot = 50u, kSoftmax = 51u,
           kLogSoftmax = 52u, kCumsum = 53u, kGather = 54u, kScatter = 55u;

#define kInfinity uintBitsToFloat(0x7F800000u)

float truth(bool value) { return value ? 1.0 : 0.0; }

// A negative base has whole exponents; products keep the squares and cubes of models exact.
float power(float x, float y) {
  if (y == 2.0) return x * x;
  if (y == 3.0) return x * x * x;
  if (y == 0.5) return sqrt(x);
  if (y == 0.0) return 1.0;
  if (x == 0.0) return y > 0.0 ? 0.0 : kInfinity;
  float size = exp2(y * log2(abs(x)));
  if (x > 0.0) return size;
  if (y != floor(y)) return uintBitsToFloat(0x7FC00000u);
  return mod(y, 2.0) == 0.0 ? size : -size;
}

float unary_float(float x) {
  uint bits = floatBitsToUint(x) & 0x7FFFFFFFu;
  if (FUNCTION == kNeg) return -x;
  if (FUNCTION == kAbs) return abs(x);
  if (FUNCTION == kExp) return exp(x);
  if (FUNCTION == kLog) return log(x);
  if (FUNCTION == kSqrt) return sqrt(x);
  if (FUNCTION == kReciprocal) return 1.0 / x;
  if (FUNCTION == kTanh) return safe_tanh(x);
  if (FUNCTION == kSigmoid) return sigmoid(x);
  if (FUNCTION == kErf) return erf_approx(x);
  if (FUNCTION == kSin) return sin(x);
  if (FUNCTION == kCos) return cos(x);
  if (FUNCTION == kFloor) return floor(x);
  if (FUNCTION == kCeil) return ceil(x);
  if (FUNCTION == kRound) return roundEven(x);
  if (FUNCTION == kSign) return sign(x);
  if (FUNCTION == kRelu) return max(x, 0.0);
  if (FUNCTION == kSoftplus) return softplus(x);
  if (FUNCTION == kIsNan) return truth(bits > 0x7F800000u);
  if (FUNCTION == kIsInf) return truth(bits == 0x7F800000u);
  if (FUNCTION == kNot) return truth(x == 0.0);
  if (FUNCTION == kToBool) return truth(x != 0.0);
  return x;
}

float binary_float(float x, float y) {
  if (FUNCTION == kAdd) return x + y;
  if (FUNCTION == kSub) return x - y;
  if (FUNCTION == kMul) return x * y;
  if (FUNCTION == kDiv) return x / y;
  if (FUNCTION == kPow) return power(x, y);
  if (FUNCTION == kMod) return x - y * floor(x / y);
  if (FUNCTION == kFmod) return x - y * trunc(x / y);
  if (FUNCTION == kMin) return min(x, y);
  if (FUNCTION == kMax) return max(x, y);
  if (FUNCTION == kEqual) return truth(x == y);
  if (FUNCTION == kLess) return truth(x < y);
  if (FUNCTION == kLessEqual) return truth(x <= y);
  if (FUNCTION == kAnd) return truth(x != 0.0 && y != 0.0);
  if (FUNCTION == kOr) return truth(x != 0.0 || y != 0.0);
  if (FUNCTION == kXor) return truth((x != 0.0) != (y != 0.0));
  return y >= 0.0 ? x : 0.0;  // keep
}

int unary_int(int x) {
  if (FUNCTION == kNeg) return -x;
  if (FUNCTION == kAbs) return abs(x);
  if (FUNCTION == kSign) return sign(x);
  if (FUNCTION == kRelu) return max(x, 0);
  if (FUNCTION == kNot) return x == 0 ? 1 : 0;
  if (FUNCTION == kToBool) return x != 0 ? 1 : 0;
  if (FUNCTION == kIsNan || FUNCTION == kIsInf) return 0;
  if (FUNCTION == kCopy || FUNCTION == kFloor || FUNCTION == kCeil || FUNCTION == kRound) return x;
  return to_int(unary_float(float(x)));
}

// Rounded towards minus infinity: % of negative numbers is not defined alike everywhere.
int floor_mod(int x, int y) {
  if (y == 0) return 0;
  int m = int(uint(abs(x)) % uint(abs(y)));
  if (m != 0 && (x < 0) != (y < 0)) m = abs(y) - m;
  return y < 0 ? -m : m;
}

int integer_power(int x, int y) {
  if (y < 0) return x == 1 ? 1 : (x == -1 ? ((y & 1) == 0 ? 1 : -1) : 0);
  int result = 1;
  for (int i = 0; i < 31; ++i) {
    if ((y & 1) != 0) result *= x;
    x *= x;
    y >>= 1;
  }
  return result;
}

int binary_int(int x, int y) {
  if (FUNCTION == kAdd) return x + y;
  if (FUNCTION == kSub) return x - y;
  if (FUNCTION == kMul) return x * y;
  if (FUNCTION == kDiv) {
    int q = y == 0 ? 0 : int(uint(abs(x)) / uint(abs(y)));
    return (x < 0) != (y < 0) ? -q : q;
  }
  if (FUNCTION == kPow) return integer_power(x, y);
  if (FUNCTION == kMod) return floor_mod(x, y);
  if (FUNCTION == kFmod) {
    int m = y == 0 ? 0 : int(uint(abs(x)) % uint(abs(y)));
    return x < 0 ? -m : m;
  }
  if (FUNCTION == kMin) return min(x, y);
  if (FUNCTION == kMax) return max(x, y);
  if (FUNCTION == kEqual) return x == y ? 1 : 0;
  if (FUNCTION == kLess) return x < y ? 1 : 0;
  if (FUNCTION == kLessEqual) return x <= y ? 1 : 0;
  if (FUNCTION == kAnd) return x != 0 && y != 0 ? 1 : 0;
  if (FUNCTION == kOr) return x != 0 || y != 0 ? 1 : 0;
  if (FUNCTION == kXor) return (x != 0) != (y != 0) ? 1 : 0;
  return y >= 0 ? x : 0;  // keep
}
