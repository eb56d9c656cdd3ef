from pathlib import Path

import pytest

from tests.exposition.kubernetes.apiservers import Authority
from tests.exposition.kubernetes.apiservers import authority as new_authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def account_folder(tmp_path: Path) -> Path:
    return tmp_path / "account"
