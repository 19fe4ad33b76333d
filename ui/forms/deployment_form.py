"""What a deployment is planned for, as a form over one immutable value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from core.plan.deployment import Load, Price
from core.plan.gpu_kinds import GpuKind
from ui.widgets.no_wheel import NoWheel
from ui.widgets.number_box import NumberBox
from ui.widgets.plain import PlainLabel

_KV_BITS = ((16, "16 bits"), (8, "FP8, 8 bits"))
_LARGEST = 10_000_000


@dataclass(frozen=True, slots=True)
class DeploymentChoice:
    """What the form holds. A price of 0 is no price."""

    gpu: str = "h100-80"
    scheme: str = "W4A16"
    context: int = 8192
    concurrency: int = 8
    kv_bits: int = 16
    price_per_hour: float = 0.0
    currency: str = ""

    @property
    def load(self) -> Load:
        return Load(context=self.context, concurrency=self.concurrency, kv_bits=self.kv_bits)

    @property
    def price(self) -> Price | None:
        if self.price_per_hour <= 0:
            return None
        return Price(per_gpu_hour=self.price_per_hour, currency=self.currency)


class DeploymentForm(QWidget):
    """value(), set_value(), value_changed; the schemes to choose from come with the first plan."""

    value_changed = Signal(object)

    def __init__(self, gpus: Sequence[GpuKind], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self._gpu = self._choice("gpu", "GPU")
        for gpu in gpus:
            self._gpu.addItem(f"{gpu.name} · {gpu.memory_gib} GiB · {gpu.capability[0]}.{gpu.capability[1]}", gpu.id)
        self._scheme = self._choice("scheme", "Scheme")
        self._context = self._number("context", "Context, tokens a request", 1, _LARGEST, 1024)
        self._concurrency = self._number("concurrency", "Requests at once", 1, 100_000, 1)
        self._kv = self._choice("kv_cache", "KV cache")
        for bits, title in _KV_BITS:
            self._kv.addItem(title, bits)
        self._price, self._currency = self._price_fields()
        self._column.addStretch(1)
        self.set_value(DeploymentChoice())
        for box in (self._gpu, self._scheme, self._kv):
            box.currentIndexChanged.connect(self._tell)
        for number in (self._context, self._concurrency, self._price):
            number.valueChanged.connect(self._tell)
        self._currency.textChanged.connect(self._tell)

    def value(self) -> DeploymentChoice:
        """What is shown."""
        return DeploymentChoice(
            gpu=self._gpu.currentData() or "",
            scheme=self._scheme.currentData() or self._wanted,
            context=self._context.value(),
            concurrency=self._concurrency.value(),
            kv_bits=self._kv.currentData(),
            price_per_hour=self._price.value(),
            currency=self._currency.text().strip(),
        )

    def set_value(self, value: DeploymentChoice) -> None:
        """Show a value, without saying that it changed."""
        self._wanted = value.scheme
        fields: tuple[QWidget, ...] = (
            *(self._gpu, self._scheme, self._context, self._concurrency, self._kv, self._price, self._currency),
        )
        blockers = [QSignalBlocker(field) for field in fields]
        self._gpu.setCurrentIndex(max(0, self._gpu.findData(value.gpu)))
        self._scheme.setCurrentIndex(self._scheme.findData(value.scheme))
        self._context.setValue(value.context)
        self._concurrency.setValue(value.concurrency)
        self._kv.setCurrentIndex(max(0, self._kv.findData(value.kv_bits)))
        self._price.setValue(value.price_per_hour)
        self._currency.setText(value.currency)
        del blockers

    def show_schemes(self, titles: Sequence[str]) -> None:
        """The rows that can be chosen; the chosen one stays where it is still there."""
        if [self._scheme.itemData(index) for index in range(self._scheme.count())] == list(titles):
            return
        with QSignalBlocker(self._scheme):
            wanted = self._scheme.currentData() or self._wanted
            self._scheme.clear()
            for title in titles:
                self._scheme.addItem(title, title)
            self._scheme.setCurrentIndex(max(0, self._scheme.findData(wanted)))

    def choose_scheme(self, title: str) -> None:
        """Show another row as chosen, without saying that it changed."""
        with QSignalBlocker(self._scheme):
            self._scheme.setCurrentIndex(self._scheme.findData(title))

    def _choice(self, name: str, title: str) -> QComboBox:
        field = QComboBox()
        field.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._place(name, title, field)
        return field

    def _number(self, name: str, title: str, low: int, high: int, step: int) -> QSpinBox:
        field = QSpinBox()
        field.setRange(low, high)
        field.setSingleStep(step)
        field.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._place(name, title, field)
        return field

    def _price_fields(self) -> tuple[QDoubleSpinBox, QLineEdit]:
        price = NumberBox()
        price.setRange(0.0, 100_000.0)
        price.setDecimals(4)
        price.setSingleStep(0.1)
        price.setSpecialValueText("no price")
        price.setAlignment(Qt.AlignmentFlag.AlignRight)
        currency = QLineEdit()
        currency.setMaxLength(8)
        currency.setPlaceholderText("EUR")
        currency.setFixedWidth(64)
        currency.setObjectName("deployment.currency")
        currency.setAccessibleName("Currency")
        row = QHBoxLayout()
        row.setSpacing(8)
        self._name("price", "Price of one GPU an hour", price)
        row.addWidget(price, 1)
        row.addWidget(currency)
        self._column.addLayout(row)
        return price, currency

    def _place(self, name: str, title: str, field: QWidget) -> None:
        self._name(name, title, field)
        self._column.addWidget(field)
        self._column.addSpacing(8)

    def _name(self, name: str, title: str, field: QWidget) -> None:
        field.setObjectName(f"deployment.{name}")
        field.setAccessibleName(title)
        NoWheel(field)
        self._column.addWidget(PlainLabel(title, "small", wrap=False, selectable=False))

    def _tell(self) -> None:
        self.value_changed.emit(self.value())
