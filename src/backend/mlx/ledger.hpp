// What evaluating arrays takes in memory, told from their shapes, for a run that is planned and not done. A
// part of shim.cpp, which alone includes it.
//
// MLX takes memory for a step when it hands the step to the device, and gets it back when the steps that read
// it have run. It hands out steps well before they run, so there are two peaks: `peak` with as many steps on
// the way as MLX has at most, and `least` with none, which is what it comes to when it waits at its limit.
#ifndef WN_MLX_LEDGER_HPP
#define WN_MLX_LEDGER_HPP

#include <mlx/mlx.h>
#include <mlx/primitives.h>

#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using mlx::core::array;
using Strides = std::vector<int64_t>;

bool is_one_of(const char *step, std::initializer_list<const char *> names)
{
    for (const char *name : names)
        if (!std::strcmp(step, name)) return true;
    return false;
}

bool is_elementwise(const char *step)
{
    return !std::strncmp(step, "Compiled", 8) ||
           is_one_of(step, {"Add", "AsType", "Divide", "Equal", "Erf", "Maximum", "Multiply", "Rsqrt",
                            "Select", "Sigmoid", "Softmax", "Sqrt", "Square", "Subtract"});
}

// ---- where elements lie ----

Strides packed(const mlx::core::Shape &shape)
{
    Strides s(shape.size());
    int64_t n = 1;
    for (size_t i = shape.size(); i-- > 0; n *= shape[i]) s[i] = n;
    return s;
}

// Strides of the same elements in another shape; none where that takes a copy.
std::optional<Strides> reshaped(const mlx::core::Shape &from, const Strides &s, const mlx::core::Shape &to)
{
    std::vector<std::pair<int64_t, int64_t>> runs; // length and stride
    for (size_t i = 0; i < from.size(); i++) {
        if (from[i] == 0) return packed(to);
        if (from[i] == 1) continue;
        if (!runs.empty() && runs.back().second == from[i] * s[i])
            runs.back() = {runs.back().first * from[i], s[i]};
        else
            runs.emplace_back(from[i], s[i]);
    }
    Strides out(to.size());
    int64_t left = 1, step = 1; // of the run that the axis lies in
    for (size_t i = to.size(); i-- > 0;) {
        if (to[i] != 1 && left == 1) {
            left = runs.back().first;
            step = runs.back().second;
            runs.pop_back();
        }
        if (left % to[i]) return {};
        out[i] = step;
        step *= to[i];
        left /= to[i];
    }
    return out;
}

class Layouts {
  public:
    // Strides of a step's result, whose inputs have been asked for; *copied: it has elements of its own.
    const Strides &of(const array &a, bool *copied)
    {
        optional<Strides> s = a.has_primitive() ? view(a) : known(a);
        *copied = !s;
        if (!s && is_elementwise(a.primitive().name())) s = like_input(a);
        return known_[a.id()] = s ? *s : packed(a.shape());
    }

    const Strides &of(const array &a)
    {
        bool copied;
        auto found = known_.find(a.id());
        return found == known_.end() ? of(a, &copied) : found->second;
    }

  private:
    template <class T> using optional = std::optional<T>;
    std::unordered_map<std::uintptr_t, Strides> known_;

    static optional<Strides> known(const array &a)
    {
        if (a.status() == array::Status::unscheduled) return packed(a.shape());
        return Strides(a.strides().begin(), a.strides().end());
    }

    // Of a step that looks at its input's memory.
    optional<Strides> view(const array &a)
    {
        const char *step = a.primitive().name();
        if (a.inputs().empty()) return {};
        const array &in = a.inputs()[0];
        const Strides &s = of(in);
        Strides out(a.ndim());
        if (is_one_of(step, {"Reshape", "Flatten", "Unflatten", "ExpandDims", "Squeeze"}))
            return reshaped(in.shape(), s, a.shape());
        if (!std::strcmp(step, "Transpose")) {
            auto axes = static_cast<const mlx::core::Transpose &>(a.primitive()).state();
            for (size_t i = 0; i < axes.size(); i++) out[i] = s[static_cast<size_t>(axes[i])];
            return out;
        }
        if (!std::strcmp(step, "Slice")) {
            auto steps = std::get<2>(static_cast<const mlx::core::Slice &>(a.primitive()).state());
            for (size_t i = 0; i < s.size(); i++) out[i] = s[i] * steps[i];
            return out;
        }
        if (!std::strcmp(step, "Broadcast")) {
            for (size_t i = 0, skip = a.ndim() - in.ndim(); i < a.ndim(); i++)
                out[i] = i < skip || in.shape(static_cast<int>(i - skip)) == 1 ? 0 : s[i - skip];
            return out;
        }
        if (!std::strncmp(step, "View", 4) && s == packed(in.shape())) return packed(a.shape());
        if (is_one_of(step, {"Contiguous", "Copy"}) && s == packed(in.shape())) return s;
        return {};
    }

    // An element takes the place of its operand's, where that is dense.
    optional<Strides> like_input(const array &a)
    {
        for (const array &in : a.inputs()) {
            if (in.shape() != a.shape()) continue;
            const Strides &s = of(in);
            int64_t span = 1;
            for (size_t i = 0; i < s.size(); i++) span += s[i] * (a.shape(static_cast<int>(i)) - 1);
            if (span == static_cast<int64_t>(a.size())) return s;
        }
        return {};
    }
};

// ---- the ledger ----

class Ledger {
    struct Block {
        Ledger &ledger;
        size_t bytes;
        Block(Ledger &ledger, size_t bytes) : ledger(ledger), bytes(bytes) { ledger.take(bytes); }
        ~Block() { ledger.give(bytes); }
        Block(const Block &) = delete;
    };

  public:
    using Hold = std::shared_ptr<Block>; // memory is held as long as one of these lives
    struct Result {
        array a; // without elements and without the steps that lead to it
        Hold hold;
    };

    explicit Ledger(bool gpu) : gpu_(gpu), on_the_way_(gpu ? 20 : 110) {}

    size_t used() const { return held_; }
    size_t peak() const { return peak_; }
    size_t least() const { return least_; }

    void reset_peak() { peak_ = least_ = held_; }

    // An array of this type and shape, with memory.
    Result make(const mlx::core::Shape &shape, mlx::core::Dtype type)
    {
        Result r{array(shape, type, nullptr, {}), nullptr};
        r.hold = std::make_shared<Block>(*this, r.a.nbytes());
        held_by_[r.a.id()] = r.hold;
        return r;
    }

    // The memory of an array that has elements already.
    Hold count(const array &a)
    {
        Hold hold = std::make_shared<Block>(*this, a.nbytes());
        held_by_[a.id()] = hold;
        return hold;
    }

    // Nothing but steps still to be evaluated may read this array any more.
    void let_go(const array &a, Hold hold, bool may_be_read)
    {
        if (hold && may_be_read) let_go_[a.id()] = std::move(hold);
        hold.reset();
        if (!may_be_read) arrive(0);
    }

    std::vector<Result> evaluate(const std::vector<array> &results)
    {
        std::vector<array> steps = in_order(results);
        uses_.clear();
        for (const array &a : steps)
            for (const array &in : a.inputs()) uses_[in.id()]++;
        for (const array &a : results) uses_[a.id()]++;
        for (auto i = let_go_.begin(); i != let_go_.end();)
            i = uses_.count(i->first) ? std::next(i) : let_go_.erase(i);
        arrive(0);
        layouts_ = {};
        for (const array &a : steps) step(a);
        std::vector<Result> out;
        for (const array &a : results) out.push_back(finish(a));
        now_.clear();
        let_go_.clear();
        arrive(0);
        return out;
    }

  private:
    static constexpr size_t slack = 16384; // bytes more than it needs that MLX lets a result have
    const bool gpu_;
    const int64_t on_the_way_; // tasks; a step makes about two
    size_t held_ = 0, late_ = 0, peak_ = 0, least_ = 0;
    int64_t clock_ = 0;
    std::deque<std::pair<int64_t, size_t>> leaving_; // tasks handed out by then, bytes
    std::unordered_map<std::uintptr_t, std::weak_ptr<Block>> held_by_;
    std::unordered_map<std::uintptr_t, Hold> let_go_, now_; // now_: of an evaluation's steps
    std::unordered_map<std::uintptr_t, int> uses_;
    Layouts layouts_;

    void take(size_t bytes)
    {
        held_ += bytes;
        late_ += bytes;
        if (held_ > least_) least_ = held_;
        if (late_ > peak_) peak_ = late_;
    }

    void give(size_t bytes)
    {
        held_ -= bytes;
        leaving_.emplace_back(clock_, bytes);
    }

    // What was given up comes back, but for the last tasks'.
    void arrive(int64_t tasks)
    {
        while (!leaving_.empty() && (!tasks || leaving_.front().first + tasks <= clock_)) {
            late_ -= leaving_.front().second;
            leaving_.pop_front();
        }
    }

    // The steps in the order of MLX 0.32: from the results backwards in breadth, 20 wide.
    static std::vector<array> in_order(const std::vector<array> &results)
    {
        const size_t width = 20;
        std::unordered_map<std::uintptr_t, int> degree;
        std::vector<array> todo{array({}, mlx::core::bool_, nullptr, results)}, tape = todo;
        while (!todo.empty()) {
            array a = todo.back();
            todo.pop_back();
            for (const array &in : a.inputs())
                if (in.has_primitive() && degree[in.id()]++ == 0) todo.push_back(in);
        }
        std::vector<std::pair<array, size_t>> later;
        for (size_t i = 0; i < tape.size() || !later.empty();) {
            std::pair<array, size_t> at =
                i < tape.size() ? std::pair<array, size_t>(tape[i], 0) : later.back();
            if (i < tape.size())
                i++;
            else
                later.pop_back();
            for (size_t j = at.second; j < at.first.inputs().size(); j++) {
                const array &in = at.first.inputs()[j];
                if (!in.has_primitive()) continue;
                if (tape.size() - i >= width) {
                    later.emplace_back(at.first, j);
                    break;
                }
                if (--degree[in.id()] == 0) tape.push_back(in);
            }
        }
        return std::vector<array>(tape.rbegin(), std::prev(tape.rend()));
    }

    Hold find(const array &a, bool *ours)
    {
        for (auto *map : {&now_, &let_go_})
            if (auto i = map->find(a.id()); i != map->end()) {
                *ours = true;
                return i->second;
            }
        *ours = false;
        auto i = held_by_.find(a.id());
        return i == held_by_.end() ? nullptr : i->second.lock();
    }

    // The memory of an operand that nothing else reads, for a result as large.
    Hold reuse(const array &a)
    {
        if (!is_elementwise(a.primitive().name())) return nullptr;
        for (const array &in : a.inputs()) {
            bool ours;
            Hold hold = find(in, &ours);
            bool alone = hold && ours && hold.use_count() == 2 && uses_[in.id()] == 1;
            if (alone && hold->bytes >= a.nbytes() && hold->bytes <= a.nbytes() + slack) return hold;
        }
        return nullptr;
    }

    // What a step takes while it runs: on the CPU a convolution lays out every window.
    size_t scratch(const array &a) const
    {
        if (gpu_ || std::strcmp(a.primitive().name(), "Convolution")) return 0;
        const array &x = a.inputs()[0], &w = a.inputs()[1];
        size_t n = a.size() / static_cast<size_t>(w.shape(0)) * (w.size() / static_cast<size_t>(w.shape(0)));
        size_t padded = static_cast<size_t>(x.shape(0)) * static_cast<size_t>(x.shape(-1));
        for (int i = 1; i + 1 < static_cast<int>(x.ndim()); i++)
            padded *= static_cast<size_t>(x.shape(i) + w.shape(i) - 1);
        return (n + padded) * sizeof(float);
    }

    void step(const array &a)
    {
        bool copied, ours;
        layouts_.of(a, &copied);
        Hold hold = copied ? reuse(a) : find(a.inputs()[0], &ours);
        bool much =
            hold && hold->bytes > a.nbytes() + slack && !std::strcmp(a.primitive().name(), "Contiguous");
        if (much) { // a few rows of it: copied, so that the rest can go
            copied = true;
            hold = nullptr;
        }
        if (copied && !hold) hold = std::make_shared<Block>(*this, a.nbytes());
        if (size_t bytes = scratch(a)) Block windows(*this, bytes);
        now_[a.id()] = std::move(hold);
        clock_ += copied ? 2 : 1;
        for (const array &in : a.inputs())
            if (--uses_[in.id()] == 0) {
                now_.erase(in.id());
                let_go_.erase(in.id());
            }
        arrive(on_the_way_);
    }

    Result finish(const array &a)
    {
        bool ours;
        Result r{a, find(a, &ours)};
        if (!a.has_primitive()) {
            if (!r.hold) r.hold = count(a);
            return r;
        }
        r.a = array(a.shape(), a.dtype(), nullptr, {});
        held_by_[r.a.id()] = r.hold;
        return r;
    }
};

} // namespace

#endif
