// sample: the next token from the logits of one position, by the rules of sampleLogits() in reference/sample.ts, its plain-loop twin:
//   temperature 0: the largest allowed logit, the lowest index among equals. Otherwise weights exp((logit - max) / temperature) in falling
//   order (equals by rising index), cut to the shortest prefix with at least topP of the mass; the first token at which the running sum
//   exceeds uniform01 times the prefix's sum.
//   logits [tokens]; allowed [ceil(tokens / 32)]: one bit per token, read where useMask is 1
//   result [1]: the token, or 0xffffffff when no logit was a number
// One workgroup; nothing is sorted. Logits become integers of the same order, and the last key with enough mass above it is found bit by
// bit: each step sums the mass of all keys not below a candidate. Equals are then told apart by counting.
struct Params {
  tokens: u32,
  useMask: u32,
  temperature: f32,
  topP: f32,
  uniform01: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> allowed: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;

const LANES = 256u;
const NONE = 0xffffffffu;
var<workgroup> laneSums: array<f32, LANES>;
var<workgroup> groupSums: array<f32, 16>;
var<workgroup> laneKeys: array<u32, LANES>;
var<workgroup> laneTokens: array<u32, LANES>;

// The logit as an integer that orders like it; 0 where the token is not allowed or no number.
fn keyOf(token: u32) -> u32 {
  if (params.useMask == 1u && ((allowed[token / 32u] >> (token % 32u)) & 1u) == 0u) {
    return 0u;
  }
  let bits = bitcast<u32>(logits[token]);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return 0u;
  }
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

fn logitOf(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u));
}

fn weightOf(key: u32, largest: f32) -> f32 {
  return exp((logitOf(key) - largest) / params.temperature);
}

// The sum of one value per lane, the same in all lanes.
fn total(lane: u32, value: f32) -> f32 {
  laneSums[lane] = value;
  workgroupBarrier();
  if (lane < 16u) {
    var sum = 0f;
    for (var i = 0u; i < 16u; i++) {
      sum += laneSums[lane * 16u + i];
    }
    groupSums[lane] = sum;
  }
  workgroupBarrier();
  var sum = 0f;
  for (var i = 0u; i < 16u; i++) {
    sum += groupSums[i];
  }
  workgroupBarrier();
  return sum;
}

// Mass of the allowed tokens whose key is at least `least`.
fn massFrom(lane: u32, least: u32, largest: f32) -> f32 {
  var sum = 0f;
  for (var token = lane; token < params.tokens; token += LANES) {
    let key = keyOf(token);
    if (key != 0u && key >= least) {
      sum += weightOf(key, largest);
    }
  }
  return total(lane, sum);
}

// The largest key with at least (or, where `strict`, more than) `wanted` of mass at or above it.
fn lastKey(lane: u32, wanted: f32, strict: bool, largest: f32) -> u32 {
  var key = 0u;
  for (var bit = 0u; bit < 32u; bit++) {
    let candidate = key | (0x80000000u >> bit);
    let mass = massFrom(lane, candidate, largest);
    key = select(key, candidate, select(mass >= wanted, mass > wanted, strict));
  }
  return key;
}

// How many allowed tokens have exactly this key.
fn countOf(lane: u32, key: u32) -> f32 {
  var count = 0f;
  for (var token = lane; token < params.tokens; token += LANES) {
    count += select(0.0, 1.0, keyOf(token) == key);
  }
  return total(lane, count);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var bestKey = 0u;
  var bestToken = NONE;
  for (var token = lane; token < params.tokens; token += LANES) {
    let key = keyOf(token);
    if (key > bestKey) {
      bestKey = key;
      bestToken = token;
    }
  }
  laneKeys[lane] = bestKey;
  laneTokens[lane] = bestToken;
  workgroupBarrier();
  for (var i = 0u; i < LANES; i++) {
    if (laneKeys[i] > bestKey || (laneKeys[i] == bestKey && laneTokens[i] < bestToken)) {
      bestKey = laneKeys[i];
      bestToken = laneTokens[i];
    }
  }
  if (params.temperature <= 0.0) {
    if (lane == 0u) {
      result[0] = bestToken;
    }
    return;
  }

  let largest = logitOf(bestKey);
  let all = massFrom(lane, 0u, largest);
  // The nucleus: everything above cutKey, and as many of the tokens at cutKey as it takes, at least one.
  let wanted = min(params.topP, 1.0) * all;
  let cutKey = max(lastKey(lane, wanted, false, largest), 1u);
  let above = massFrom(lane, cutKey + 1u, largest);
  let cutWeight = weightOf(cutKey, largest);
  let cutCount = max(countOf(lane, cutKey), 1.0);
  let cutTaken = clamp(ceil((wanted - above) / cutWeight), 1.0, cutCount);
  let goal = params.uniform01 * (above + cutTaken * cutWeight);
  // The drawn token: the key at which the running sum passes the goal, then its place among equals.
  let key = max(lastKey(lane, goal, true, largest), cutKey);
  let before = massFrom(lane, key + 1u, largest);
  let place = floor(max(goal - before, 0.0) / weightOf(key, largest));
  let equals = select(countOf(lane, key), cutTaken, key == cutKey);
  let chosen = u32(clamp(place, 0.0, max(equals - 1.0, 0.0)));

  // Count equals in contiguous parts, so that the lane that holds the chosen one knows it.
  let part = (params.tokens + LANES - 1u) / LANES;
  let start = lane * part;
  let end = min(start + part, params.tokens);
  var count = 0u;
  for (var token = start; token < end; token++) {
    count += select(0u, 1u, keyOf(token) == key);
  }
  workgroupBarrier();
  laneKeys[lane] = count;
  if (lane == 0u) {
    result[0] = bestToken;
  }
  workgroupBarrier();
  storageBarrier();
  var seen = 0u;
  for (var i = 0u; i < lane; i++) {
    seen += laneKeys[i];
  }
  for (var token = start; token < end; token++) {
    if (keyOf(token) == key) {
      if (seen == chosen) {
        result[0] = token;
      }
      seen++;
    }
  }
}
