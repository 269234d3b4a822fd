// Activations in the order of pocket::Activation. Arguments of exp and tanh are clamped where a
// driver's expansion could give infinity minus infinity.
const uint kActNone = 0u, kActRelu = 1u, kActGeluErf = 2u, kActGeluTanh = 3u, kActSilu = 4u,
           kActTanh = 5u, kActSigmoid = 6u, kActQuickGelu = 7u, kActReluSquare = 8u, kActExp = 9u,
           kActLog = 10u, kActSqrt = 11u, kActNeg = 12u, kActAbs = 13u, kActSoftplus = 14u,
           kActReciprocal = 15u, kActSquare = 16u, kActErf = 17u;

float safe_tanh(float x) {
  float e = exp(-2.0 * min(abs(x), 20.0));
  float y = (1.0 - e) / (1.0 + e);
  float small = x - x * x * x * (1.0 / 3.0);  // 1 - e cancels here
  return abs(x) < 0.02 ? small : (x < 0.0 ? -y : y);
}

float sigmoid(float x) { return 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0))); }

// Abramowitz and Stegun 7.1.26, absolute error 1.5e-7.
float erf_approx(float x) {
  float a = abs(x);
  float t = 1.0 / (1.0 + 0.3275911 * a);
  float poly = t * (0.254829592 +
               t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  float y = 1.0 - poly * exp(-min(a * a, 80.0));
  return x < 0.0 ? -y : y;
}

float softplus(float x) { return max(x, 0.0) + log(1.0 + exp(-abs(x))); }

float activate(uint kind, float x) {
  if (kind == kActRelu) return max(x, 0.0);
  if (kind == kActGeluErf) return 0.5 * x * (1.0 + erf_approx(x * 0.70710678118654752));
  if (kind == kActGeluTanh)
    return 0.5 * x * (1.0 + safe_tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
  if (kind == kActSilu) return x * sigmoid(x);
  if (kind == kActTanh) return safe_tanh(x);
  if (kind == kActSigmoid) return sigmoid(x);
  if (kind == kActQuickGelu) return x * sigmoid(1.702 * x);
  if (kind == kActReluSquare) return max(x, 0.0) * max(x, 0.0);
  if (kind == kActExp) return exp(x);
  if (kind == kActLog) return log(x);
  if (kind == kActSqrt) return sqrt(x);
  if (kind == kActNeg) return -x;
  if (kind == kActAbs) return abs(x);
  if (kind == kActSoftplus) return softplus(x);
  if (kind == kActReciprocal) return 1.0 / x;
  if (kind == kActSquare) return x * x;
  if (kind == kActErf) return erf_approx(x);
  return x;
}
