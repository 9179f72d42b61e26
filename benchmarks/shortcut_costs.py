"""The paper's Tables 1 and 4: what a frame of Shortcut-V2V costs, by the paper's rules and truly.

python benchmarks/shortcut_costs.py
"""

from __future__ import annotations

from dataclasses import asdict

from records import record, save

from edgeflow.models.shortcut_v2v.paper import CASES, count


def main() -> None:
    """Count and save results/shortcut_costs.json; nothing is run."""
    records = []
    for case in CASES:
        teacher, shortcut = count(case)
        mean = (teacher.macs + (case.interval - 1) * shortcut.macs) / case.interval
        fields = {"task": case.task, "dependence": case.dependence, "channels": case.channels}
        records.append(
            record(
                family="shortcut-v2v",
                **fields,
                interval=case.interval,
                published=asdict(case.published),
                paper_teacher_gmacs=teacher.paper.macs / 1e9,
                paper_teacher_mparams=teacher.paper.parameters / 1e6,
                paper_shortcut_gmacs=shortcut.paper.macs / 1e9,
                paper_shortcut_mparams=shortcut.paper.parameters / 1e6,
                teacher_gmacs=teacher.macs / 1e9,
                shortcut_gmacs=shortcut.macs / 1e9,
                shortcut_mparams=shortcut.parameters / 1e6,
                mean_gmacs=mean / 1e9,
                saved=teacher.macs / mean,
            )
        )
        print(
            f"{case.task} {case.dependence:6} paper's rules {teacher.paper.macs / 1e9:.2f} / "
            f"{shortcut.paper.macs / 1e9:.2f} GMAC, {shortcut.paper.parameters / 1e6:.2f} M; true "
            f"{teacher.macs / 1e9:.2f} / {shortcut.macs / 1e9:.2f}, mean over {case.interval} frames {mean / 1e9:.2f} "
            f"({teacher.macs / mean:.2f}x saved)"
        )
    save("shortcut_costs", records, ("family", "task", "dependence"))


if __name__ == "__main__":
    main()
